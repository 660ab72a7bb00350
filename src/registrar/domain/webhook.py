"""Webhooks: what is sent of an event, how it is signed (Standard Webhooks), and when it is tried again.

A message is named by its event: by its time and its digest. So whatever sends it, once or again or replayed from the log
a month later, sends it under the same identifier, and a receiver that keeps identifiers handles each event once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registrar.domain.client import Client, ShownClient
from registrar.domain.events import EVENTS, Event
from registrar.domain.metadata import MEMBERS, Registered

DELAYS: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt, after the one before it: some three days in all (Standard Webhooks, retries)."""

TEST: Final = "webhook.test"
"""The type of a message that tells of nothing but that it came."""

_SYMMETRIC: Final = "whsec_"
_PRIVATE: Final = "whsk_"
_KEY_BYTES: Final = range(24, 65)
_ED25519_BYTES: Final = (32, 64)
"""The seed alone, or with the public key behind it."""
_DIGEST: Final = 16
_IDENTIFIER: Final = re.compile(rf"evt_[0-9a-f]{{{11 + 2 * _DIGEST}}}")


class SigningKeys:
    """The keys that sign what goes to one endpoint: every one of them signs, so that a receiver may change its own in peace.

    Args:
        symmetric: for `v1`, HMAC-SHA256.
        private: for `v1a`, Ed25519.
    """

    def __init__(self, symmetric: tuple[bytes, ...], private: tuple[Ed25519PrivateKey, ...] = ()) -> None:
        self._symmetric, self._private = symmetric, private

    @classmethod
    def read(cls, text: str) -> SigningKeys:
        """The keys of a file: `whsec_` or `whsk_` and base64, one to a line; # begins a comment.

        Raises:
            ValueError: a line is no such key, or there is none. Nothing of the line is repeated.
        """
        symmetric, private = [], []
        for number, line in enumerate(map(str.strip, text.splitlines()), 1):
            if not line or line.startswith("#"):
                continue
            try:
                key = base64.b64decode(line.partition("_")[2], validate=True)
            except ValueError:
                raise ValueError(f"line {number} is not base64 behind {_SYMMETRIC} or {_PRIVATE}") from None
            if line.startswith(_SYMMETRIC) and len(key) in _KEY_BYTES:
                symmetric.append(key)
            elif line.startswith(_PRIVATE) and len(key) in _ED25519_BYTES:
                private.append(Ed25519PrivateKey.from_private_bytes(key[:32]))
            else:
                raise ValueError(
                    f"line {number} is no key: {_SYMMETRIC} and the base64 of 24 to 64 bytes, "
                    f"or {_PRIVATE} and that of an Ed25519 private key"
                )
        if not symmetric and not private:
            raise ValueError(f"needs a line {_SYMMETRIC} and the base64 of 24 to 64 random bytes")
        return cls(tuple(symmetric), tuple(private))

    def __repr__(self) -> str:
        return f"SigningKeys({len(self._symmetric)}, {len(self._private)})"

    def headers(self, identifier: str, now: int, payload: bytes) -> dict[str, str]:
        """The header fields of an attempt: identifier, time and signatures.

        Args:
            identifier: of the message; the same at every attempt.
            now: seconds since 1970 of this attempt, so that a copy which is sent again later is refused as old.
            payload: the body.
        """
        signed = f"{identifier}.{now}.".encode() + payload
        signatures = [f"v1,{_base64(hmac.digest(key, signed, hashlib.sha256))}" for key in self._symmetric]
        signatures += [f"v1a,{_base64(key.sign(signed))}" for key in self._private]
        return {
            "Content-Type": "application/json",
            "webhook-id": identifier,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(signatures),
        }


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def kinds(patterns: tuple[str, ...]) -> frozenset[str]:
    """The kinds of events that patterns such as `client.*` name.

    Raises:
        ValueError: a pattern names none; it is the argument.
    """
    found: set[str] = set()
    for pattern in patterns:
        named = [kind for kind in EVENTS if fnmatchcase(kind, pattern)]
        if not named:
            raise ValueError(pattern)
        found.update(named)
    return frozenset(found)


def identifier(event: Event) -> str:
    """The identifier of the message about an event."""
    return f"evt_{event.time_ms:011x}{hashlib.sha256(event.body).digest()[:_DIGEST].hex()}"


def told_at(message: str) -> int:
    """The time of the event that an identifier names, in milliseconds since 1970.

    Raises:
        ValueError: it is no such identifier.
    """
    if not _IDENTIFIER.fullmatch(message):
        raise ValueError(message)
    return int(message[4:15], 16)


_encode: Final = msgspec.json.Encoder().encode


def payload(event: Event, client: Client | None = None) -> bytes:
    """The body of the message about an event: its type, its time, the event itself, and the client as it is from then on.

    Who reads it learns of a person as much as the audit's body tells: a commitment.
    """
    data = event.body if client is None else event.body[:-1] + b',"client":' + _encode(shown(client)) + b"}"
    return b'{"type":"%s","timestamp":"%s","data":%s}' % (event.kind.encode(), _time(event.time_ms), data)


def test_payload(issuer: str, name: str, now_ms: int) -> bytes:
    """The body of a message that tries an endpoint out."""
    data = _encode({"issuer": issuer, "webhook": name, "time": now_ms})
    return b'{"type":"%s","timestamp":"%s","data":%s}' % (TEST.encode(), _time(now_ms), data)


def shown(client: Client) -> ShownClient:
    """What a gateway or another authorization server needs of a client: everything but credentials and persons."""
    metadata = Registered({name: value for name, value in client.metadata.items() if name not in _PERSONAL})
    return msgspec.structs.replace(client.public(), owner="", token_label="", metadata=metadata)


_PERSONAL: Final = frozenset(name for name, row in MEMBERS.items() if row.personal)


def _time(time_ms: int) -> bytes:
    at = datetime.fromtimestamp(time_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def jittered(delay: int, random: bytes) -> int:
    """A delay and up to a tenth more, in milliseconds: what failed together need not come back together.

    Args:
        delay: seconds.
        random: two random bytes.
    """
    return delay * 1000 + delay * 100 * int.from_bytes(random) // 0xFFFF


class Message(msgspec.Struct, frozen=True):
    """A message that waits to be sent, or was given up."""

    identifier: str
    type: str
    payload: msgspec.Raw
    attempts: int = 0
    """How often it was tried."""
    problem: str = ""
    """What went wrong at the last attempt."""

    def given_up(self, key: str, given_up_at: int) -> GivenUpMessage:
        """What is shown of one that was given up, by the key under which it lies."""
        return GivenUpMessage(
            key=key,
            identifier=self.identifier,
            type=self.type,
            attempts=self.attempts,
            problem=self.problem,
            given_up_at=given_up_at,
        )

    def waiting(self, key: str, next_attempt_at: int) -> WaitingMessage:
        """What is shown of one that waits, by the key under which it lies."""
        return WaitingMessage(
            key=key,
            identifier=self.identifier,
            type=self.type,
            attempts=self.attempts,
            problem=self.problem,
            next_attempt_at=next_attempt_at,
        )


class _ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    """Its place in the list."""
    identifier: str = msgspec.field(name="id")
    """The `webhook-id` under which it is sent."""
    type: str
    """The kind of event that it tells of."""
    attempts: int
    """How often it was tried."""
    problem: str
    """What went wrong at the last attempt; empty where there was none."""


class GivenUpMessage(_ShownMessage, frozen=True, kw_only=True):
    """A message that was given up, in a list; what it tells is in the audit."""

    given_up_at: int
    """When it was given up, in seconds since 1970."""


class WaitingMessage(_ShownMessage, frozen=True, kw_only=True):
    """A message that waits, in a list; what it tells is in the audit."""

    next_attempt_at: int
    """When it is tried next, in seconds since 1970."""
