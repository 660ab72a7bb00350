"""The file of the key-encryption keys: read, or made once."""

from __future__ import annotations

import base64
import os
import stat
from contextlib import suppress
from pathlib import Path

from registrar.config.configuration import Configuration
from registrar.domain.credentials import KEY_BYTES, KeyEncryptionKeys
from registrar.policy.document import ConfigurationError


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
        return KeyEncryptionKeys.read(path.read_text("ascii"))
    except (OSError, ValueError) as problem:
        raise ConfigurationError(str(path), 0, f"not a key file: {problem}") from None


def create_key_file(path: Path) -> None:
    """Write a new key-encryption key, readable by this user alone; an existing file is left as it is.

    The file appears whole or not at all: a program that is killed half-way must not leave an empty one behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(
                "# Key-encryption keys of Registrar, newest first. Whoever has this file and the database has the secrets.\n"
            )
            file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first, and its key is the one
            path.hardlink_to(unfinished)
    finally:
        unfinished.unlink(missing_ok=True)
