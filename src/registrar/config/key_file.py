"""The file of the key-encryption keys: read, or made once."""

from __future__ import annotations

import base64
import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from registrar.config.configuration import Configuration
from registrar.domain.credentials import KEY_BYTES, KeyEncryptionKeys, key_bytes, label_of
from registrar.policy.document import ConfigurationError

_GONE: Final = (0,)

log = logging.getLogger("registrar")


def key_encryption_keys(configuration: Configuration) -> KeyEncryptionKeys:
    """The keys of the file, which is made where there is none and every issuer is on this machine.

    Raises:
        ConfigurationError: the file is missing, unreadable, or open to others.
    """
    path = configuration.key_file
    if path is None:
        return KeyEncryptionKeys((os.urandom(KEY_BYTES),))  # a store that forgets needs no key that lasts
    if not path.exists():
        if not configuration.loopback or configuration.settings.server.key_file:
            raise ConfigurationError(
                str(path),
                0,
                "there is no key file; `registrar init` makes one, and it belongs outside the database's backups",
            )
        create_key_file(path)
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigurationError(str(path), 0, "the key file can be read by others; chmod 600")
    try:
        return KeyEncryptionKeys(_read(path), _Watched(path))
    except (OSError, ValueError) as problem:
        raise ConfigurationError(str(path), 0, f"not a key file: {problem}") from None


class _Watched:
    """Gives the keys of the file when it has become another one."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, _stamp(path)

    def __call__(self) -> tuple[bytes, ...] | None:
        try:
            stamp = _stamp(self._path)
            if stamp == self._seen:
                return None
            self._seen = stamp
            keys = _read(self._path)
        except (OSError, ValueError) as problem:
            # What is known goes on: a file that is being replaced, or that was spoilt, must stop nobody.
            if self._seen != _GONE:
                log.error("the key file %s cannot be read anew: %s", self._path, problem)  # noqa: TRY400 (the operator reads one line)
            self._seen = _GONE if isinstance(problem, OSError) else self._seen
            return None
        log.info("the key file %s has changed, and its keys are in use", self._path)
        return keys


def _stamp(path: Path) -> tuple[int, ...]:
    status = os.stat(path)  # noqa: PTH116 (half as slow as a Path's, and asked at every wrapping)
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> tuple[bytes, ...]:
    return key_bytes(path.read_text("ascii"))


def add_key(path: Path, *, use: bool) -> str:
    """Add a new key to the file; its label.

    Args:
        path: the file.
        use: whether it wraps from now on, or is only known for the time being.

    Raises:
        ConfigurationError: the file cannot be read or replaced.
    """
    key = os.urandom(KEY_BYTES)
    with _changing(path) as keys:
        keys[:] = [key, *keys] if use else [*keys, key]
    return label_of(key).hex()


def use_key(path: Path, label: str) -> None:
    """Let a key that is in the file wrap from now on.

    Raises:
        ConfigurationError: it is not there, or the file cannot be read or replaced.
    """
    with _changing(path) as keys:
        key = _labelled(path, keys, label)
        keys[:] = [key, *(one for one in keys if one != key)]


def drop_key(path: Path, label: str) -> None:
    """Take a key out of the file, which is then lost unless a backup has it.

    Raises:
        ConfigurationError: it is not there, or the one that wraps, or the file cannot be read or replaced.
    """
    with _changing(path) as keys:
        key = _labelled(path, keys, label)
        if key == keys[0]:
            raise ConfigurationError(str(path), 0, f"{label} is the key that wraps; let another one do that first")
        keys.remove(key)


def changed_at(path: Path) -> float:
    """When the file was changed last, in seconds since 1970."""
    return path.stat().st_mtime


def _labelled(path: Path, keys: list[bytes], label: str) -> bytes:
    for key in keys:
        if label_of(key).hex() == label:
            return key
    known = ", ".join(label_of(key).hex() for key in keys)
    raise ConfigurationError(str(path), 0, f"there is no key {label}; these are: {known}")


@contextmanager
def _changing(path: Path) -> Iterator[list[bytes]]:
    """The keys of the file, to be changed; it is replaced as a whole, and by one command at a time."""
    path = path.resolve()
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            keys = list(_read(path))
            yield keys
            for left in path.parent.glob(f".{path.name}.*.unfinished"):
                left.unlink(missing_ok=True)  # by a command that was killed: what is retired must be gone
            unfinished = _unfinished(path)
            try:
                _write(unfinished, keys)
                unfinished.replace(path)
                os.fsync(folder)
            finally:
                unfinished.unlink(missing_ok=True)
        finally:
            os.close(folder)
    except (OSError, ValueError) as problem:
        raise ConfigurationError(str(path), 0, f"the key file cannot be changed: {problem}") from None


def create_key_file(path: Path) -> None:
    """Write a new key-encryption key, readable by this user alone; an existing file is left as it is.

    The file appears whole or not at all: a program that is killed half-way must not leave an empty one behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = _unfinished(path)
    unfinished.unlink(missing_ok=True)
    try:
        _write(unfinished, [os.urandom(KEY_BYTES)])
        with suppress(FileExistsError):  # another process was first, and its key is the one
            path.hardlink_to(unfinished)
    finally:
        unfinished.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.unfinished")


def _write(path: Path, keys: Sequence[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(
            "# Key-encryption keys of Registrar, newest first. Whoever has this file and the database has the secrets.\n"
        )
        file.writelines(base64.b64encode(key).decode() + "\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
