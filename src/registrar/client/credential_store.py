"""Where issued credentials are kept between runs: registered once, used ever after (RFC 7591 §5)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from registrar.client.client_information import ClientInformation
from registrar.client.errors import CredentialStoreError, ProtocolError

_VERSION: Final = 1
_OTHERS: Final = 0o077
_LARGEST: Final = 4 * 1024 * 1024


class CredentialStore(Protocol):
    """Keeps the clients of this software, by issuer and by a name of the caller's own, the key.

    Raises:
        CredentialStoreError: By each method, where what is kept cannot be trusted, read or written.
    """

    def load(self, issuer: str, key: str) -> ClientInformation | None:
        """What was saved for exactly this issuer and key, or None."""

    def save(self, information: ClientInformation, key: str) -> None:
        """Keep it durably, in place of what was saved for its issuer and this key; return when it is."""

    def forget(self, issuer: str, key: str) -> None:
        """Remove it, if it is there."""


class FileCredentialStore:
    """One file for each issuer and key, in a directory that is this user's alone.

    A file is replaced as a whole: a reader sees the former credentials or the new ones, and so does a machine that
    lost power in between. Nothing is read that another user can read, write, or has put there.

    Raises:
        CredentialStoreError: The directory is open to others, or a file cannot be trusted or written.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Create the directory for this user alone, or take one that is."""
        self.directory: Final = Path(directory)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_private(self.directory.stat(), self.directory)
        except OSError as error:
            raise CredentialStoreError(f"{self.directory}: {error.strerror}") from error

    def load(self, issuer: str, key: str) -> ClientInformation | None:
        """What was saved for exactly this issuer and key, or None."""
        path = self.path(issuer, key)
        try:
            # A link could lead to a file that is private and somebody else's choice.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CredentialStoreError(f"{path}: {error.strerror}") from error
        with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor, not a path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CredentialStoreError(f"{path} is not a regular file")
            _require_private(status, path)
            content = file.read(_LARGEST)
        return _read(content, issuer, key, path)

    def save(self, information: ClientInformation, key: str) -> None:
        """Keep it durably, in place of what was saved for its issuer and this key; return when it is."""
        path = self.path(information.issuer, key)
        record = {
            "version": _VERSION,
            "issuer": information.issuer,
            "key": key,
            "registration_endpoint": information.registration_endpoint,
            "lost": information.lost,
            "members": dict(information.members),
        }
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _write(draft, json.dumps(record, indent=2).encode())
            draft.replace(path)
            self._sync_directory()
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise CredentialStoreError(f"{path}: {error.strerror}") from error

    def forget(self, issuer: str, key: str) -> None:
        """Remove it, if it is there."""
        path = self.path(issuer, key)
        try:
            path.unlink(missing_ok=True)
            self._sync_directory()
        except OSError as error:
            raise CredentialStoreError(f"{path}: {error.strerror}") from error

    def path(self, issuer: str, key: str) -> Path:
        """The file of this issuer and key: the host for people, a digest for the rest."""
        host = re.sub(r"[^a-z0-9.-]", "_", urlsplit(issuer).netloc.lower())[:40].lstrip(".")
        digest = hashlib.sha256(f"{issuer}\0{key}".encode()).hexdigest()
        return self.directory / f"{host}-{digest}.json"

    def _sync_directory(self) -> None:
        # The rename itself is durable only once the directory is.
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, not a path
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _require_private(status: os.stat_result, path: Path) -> None:
    if status.st_uid != os.geteuid():
        raise CredentialStoreError(f"{path} belongs to another user")
    if status.st_mode & _OTHERS:
        raise CredentialStoreError(f"{path} is open to other users; to close it: chmod go= {path}")


def _read(content: bytes, issuer: str, key: str, path: Path) -> ClientInformation:
    try:
        record: Any = json.loads(content)
        if (record["version"], record["issuer"], record["key"]) != (_VERSION, issuer, key):
            raise CredentialStoreError(f"{path} holds the credentials of another issuer or key")
        return ClientInformation(
            issuer, str(record["registration_endpoint"]), record["members"], lost=bool(record["lost"])
        )
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, ProtocolError):
        # Without the cause: it would show the content.
        raise CredentialStoreError(f"{path} cannot be read; remove it to register anew") from None
