"""Identifiers, secrets and tokens: their form, their digests, and how a secret is kept that must be shown again.

A read or an update must answer with the current secret (RFC 7592 §3), and yet a stolen database must not yield it. So
the secret is sealed under a random data key of its client, and the data key is wrapped under a key derived from the
registration access token, which the store knows only by its digest: who presents the token can open the secret, and
nobody else. Where the server itself must read the secret, or where an operator changed it with no token at hand, the
data key is wrapped under the key-encryption key (KEK), which lies outside the database.

Randomness is an argument, so everything here is a pure function.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Final, NewType

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

PresentedToken = NewType("PresentedToken", str)
"""A bearer value as it came with a request: its form has been checked, nothing else."""

Digest = NewType("Digest", bytes)
"""The SHA-256 of a token or secret. Fast is right here: the values have 256 bits of entropy or more."""

CLIENT_ID_BYTES: Final = 16
SECRET_BYTES: Final = 64
"""86 characters; enough for every HMAC in use, HS512 included (OpenID Connect Core §16.19)."""
TOKEN_BYTES: Final = 32
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_KEK_LABEL_BYTES: Final = 8


class Unreadable(Exception):  # noqa: N818 (a state of a sealed value, not a mistake of the caller)
    """A sealed value that the key at hand does not open."""


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """AES-256-GCM ciphertext with its nonce."""

    nonce: bytes
    ciphertext: bytes


def client_id(now_ms: int, random: bytes) -> str:
    """A client identifier: the time in hexadecimal, then 128 random bits.

    The prefix keeps the store's index growing at one end (measured: several times the rate of random identifiers at
    millions of rows); the random part is what cannot be guessed. Never begins with `https://`, which is how client
    identifier metadata documents are told apart.
    """
    return f"{now_ms:011x}{_text(random)}"


def secret(random: bytes) -> str:
    """A client secret of 64 random bytes."""
    return _text(random)


def token(random: bytes) -> PresentedToken:
    """A registration or initial access token of 32 random bytes."""
    return PresentedToken(_text(random))


def _text(random: bytes) -> str:
    return binascii.b2a_base64(random, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


def digest(value: str) -> Digest:
    """What the store holds instead of a token or secret."""
    return Digest(hashlib.sha256(value.encode()).digest())


def same(one: bytes, other: bytes) -> bool:
    """Whether two digests are equal, in constant time."""
    return hmac.compare_digest(one, other)


def context(issuer: str, client_id: str, purpose: str, version: int) -> bytes:
    """The associated data of a sealed value: it opens only where it was made for."""
    return f"registrar/1\0{issuer}\0{client_id}\0{purpose}\0{version}".encode()


def key_of_token(value: PresentedToken) -> bytes:
    """The wrapping key that a token yields.

    HKDF-Expand with a label of its own (RFC 5869 §3.3: a uniformly random input needs no extraction), so that it has
    nothing to do with the digest that the store holds of the same token.
    """
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, b"registrar/1 registration access token").derive(value.encode())


def seal(key: bytes, nonce: bytes, value: bytes, associated: bytes) -> Sealed:
    """Encrypt and authenticate `value` under `key`."""
    return Sealed(nonce, AESGCM(key).encrypt(nonce, value, associated))


def unseal(key: bytes, sealed: Sealed, associated: bytes) -> bytes:
    """What `sealed` holds.

    Raises:
        Unreadable: another key, another context, or altered bytes.
    """
    try:
        return AESGCM(key).decrypt(sealed.nonce, sealed.ciphertext, associated)
    except (InvalidTag, ValueError):  # the latter for a nonce that is none
        raise Unreadable from None


def key_bytes(text: str) -> tuple[bytes, ...]:
    """The keys in the text of a key file: one base64 line of 32 bytes each, newest first; # begins a comment.

    Raises:
        ValueError: a line is no such key, or there is none.
    """
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    try:
        keys = tuple(base64.b64decode(line, validate=True) for line in lines)
    except ValueError:  # binascii.Error is one, and so is what text outside ASCII gives
        raise ValueError("a line is not base64") from None
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"needs one or more lines, each the base64 of {KEY_BYTES} bytes")
    return keys


def label_of(key: bytes) -> bytes:
    """What a value that a key-encryption key wrapped calls it; it tells nothing of the key."""
    return hashlib.sha256(b"registrar/1 kek label" + key).digest()[:_KEK_LABEL_BYTES]


class KeyEncryptionKeys:
    """The keys that wrap other keys, newest first; a wrapped value names the one that it needs.

    Args:
        keys: each of 32 bytes. None at all is allowed: then nothing can be wrapped, and what would need it is refused.
        anew: gives the keys that took the place of these, and None while these are the ones. It is asked whenever
            something is to be wrapped, and whenever a key is missing: so keys change without a restart, and nothing is
            wrapped under one that was replaced.
    """

    def __init__(self, keys: tuple[bytes, ...], anew: Callable[[], tuple[bytes, ...] | None] = lambda: None) -> None:
        self._keys = {label_of(key): key for key in keys}
        self._anew = anew

    @classmethod
    def read(cls, text: str) -> KeyEncryptionKeys:
        """The keys of a key file; see `key_bytes`.

        Raises:
            ValueError: as `key_bytes`.
        """
        return cls(key_bytes(text))

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"KeyEncryptionKeys({len(self._keys)})"

    @property
    def labels(self) -> tuple[bytes, ...]:
        """What wrapped values call these keys, newest first."""
        self._renew()
        return tuple(self._keys)

    def _renew(self) -> None:
        if (newer := self._anew()) is not None:
            self._keys = {label_of(key): key for key in newer}

    def wrap(self, nonce: bytes, value: bytes, associated: bytes) -> Wrapped:
        """`value` under the newest key."""
        self._renew()
        label, key = next(iter(self._keys.items()))
        return Wrapped(label, seal(key, nonce, value, associated))

    def unwrap(self, wrapped: Wrapped, associated: bytes) -> bytes:
        """What `wrapped` holds.

        Raises:
            Unreadable: the key that wrapped it is not among these.
        """
        if wrapped.key not in self._keys:
            self._renew()
        key = self._keys.get(wrapped.key)
        if key is None:
            raise Unreadable
        return unseal(key, wrapped.sealed, associated)


class Wrapped(msgspec.Struct, frozen=True, array_like=True):
    """A value under a key-encryption key, and the label of that key."""

    key: bytes
    sealed: Sealed


class TokenRecord(msgspec.Struct, frozen=True, array_like=True):
    """A registration access token as the store holds it."""

    digest: Digest
    data_key: Sealed | None = None
    """The data key wrapped under the token's key; None until the token is next presented."""
    until: int = 0
    """Seconds since 1970 when it ends; 0 while it is the current one (RFC 7592 §5: it should not expire)."""


class SecretRecord(msgspec.Struct, frozen=True, array_like=True):
    """A client secret as the store holds it."""

    digest: Digest
    sealed: Sealed | None
    """The secret under the data key; None once it is superseded and never shown again."""
    version: int
    issued_at: int
    expires_at: int = 0
    """Seconds since 1970 as the client was told (RFC 7591 §3.2.1); 0 is never."""
    until: int = 0
    """For a superseded secret: seconds since 1970 when the overlap ends."""

    def lives(self, now: int) -> bool:
        """Whether it still authenticates the client."""
        return (not self.expires_at or now < self.expires_at) and (not self.until or now < self.until)


class Credentials(msgspec.Struct, frozen=True, array_like=True):
    """All credentials of a client; the current one of each kind stands first."""

    tokens: tuple[TokenRecord, ...] = ()
    secrets: tuple[SecretRecord, ...] = ()
    data_key: Wrapped | None = None
    """The data key under the KEK, where the server needs it or no token wraps it yet."""

    def token_presented(self, presented: PresentedToken, now: int) -> TokenRecord | None:
        """The living token that was presented."""
        wanted = digest(presented)
        found = None
        for record in self.tokens:  # every one is compared, so that time does not tell which
            if same(record.digest, wanted) and (not record.until or now < record.until):
                found = record
        return found

    def secret_is(self, presented: str, now: int) -> bool:
        """Whether `presented` is a living secret of the client."""
        wanted = digest(presented)
        matching = [same(record.digest, wanted) and record.lives(now) for record in self.secrets]  # as above
        return any(matching)
