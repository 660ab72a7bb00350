"""Checkpoints: what the whole audit was at a moment, in one hash that is signed and can be kept elsewhere.

A checkpoint is the size and the root of the log of all batches (`domain.merkle`), as a JWS in its JSON form (RFC 7515
§7.2.1), which has room for the signatures of witnesses beside the registry's own. Whoever keeps one can hold the registry
to it: everything that it covers is still there, unchanged and in its order, or that is found.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registrar.domain import jws
from registrar.domain.jws import JWK, Malformed, Refused

TYPE: Final = "registrar-checkpoint"
"""The `typ` of its signatures: nothing else that the registry signs can be taken for one (RFC 8725 §3.11)."""
ALGORITHM: Final = "Ed25519"
ALGORITHMS: Final = ("EdDSA", "Ed25519", "ES256", "PS256", "RS256")
"""What witnesses may sign with."""
LIMIT: Final = 65_536
"""Bytes of a checkpoint at the most, with all its signatures."""
_HASH: Final = 32


class Checkpoint(msgspec.Struct, frozen=True):
    """What is signed."""

    log: str
    """Which log this is: drawn by lot when it began."""
    size: int
    """How many batches are in it."""
    root: str
    """Its root, in base64url."""
    time: int
    """Seconds since 1970."""
    unchained: int | None = None
    """Events from before there were chains, which nothing else holds: from then on, none are added; None: nobody counted."""


class Signature(msgspec.Struct, frozen=True):
    """One of the signatures."""

    protected: str
    signature: str


class Signed(msgspec.Struct, frozen=True):
    """A checkpoint with its signatures."""

    payload: str
    signatures: tuple[Signature, ...]

    @property
    def checkpoint(self) -> Checkpoint:
        """What is said; whether it is true, `signers` tells.

        Raises:
            Malformed: it is none.
        """
        try:
            said = msgspec.json.decode(_bytes(self.payload), type=Checkpoint)
        except (msgspec.DecodeError, ValueError):
            raise Malformed("its payload is no checkpoint") from None
        if said.size < 0 or len(hashed(said.root)) != _HASH:
            raise Malformed("its payload is no checkpoint")
        return said


def text(value: bytes) -> str:
    """Bytes in base64url."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def hashed(value: str) -> bytes:
    """A hash from its base64url; empty where it is none."""
    try:
        return _bytes(value)
    except ValueError:
        return b""


def _bytes(value: str) -> bytes:
    return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)


def read(body: bytes) -> Signed:
    """A checkpoint as it is published or kept.

    Raises:
        Malformed: it is none.
    """
    if len(body) > LIMIT:
        raise Malformed(f"it is larger than {LIMIT} bytes")
    try:
        signed = msgspec.json.decode(body, type=Signed)
    except msgspec.DecodeError as problem:
        raise Malformed(f"it is no JWS in JSON ({problem})") from None
    _ = signed.checkpoint
    return signed


def signed(compact: str, before: Signed | None = None) -> Signed:
    """A compact JWS in its JSON form, beside the signatures that are there already.

    Raises:
        Malformed: it signs something else.
    """
    protected, payload, signature = compact.split(".")
    one = Signed(payload, (Signature(protected, signature),))
    return one if before is None else joined(before, one)


def joined(before: Signed, more: Signed) -> Signed:
    """A checkpoint with the signatures of both, each once.

    Nobody here knows the keys of witnesses. But what is kept is at least in the form of a signature of a checkpoint, and
    can be read again.

    Raises:
        Malformed: it is another checkpoint, one of the signatures is none, or there is no room for them.
    """
    if before.payload != more.payload:
        raise Malformed("it signs something else")
    for one in more.signatures:
        header = jws.read(f"{one.protected}.{more.payload}.{one.signature}").header
        if header.get("typ") != TYPE or header["alg"] not in ALGORITHMS or not header.get("kid"):
            raise Malformed(
                f"a signature of a checkpoint has the typ {TYPE}, a kid, and an alg of {', '.join(ALGORITHMS)}"
            )
    both = Signed(before.payload, tuple(dict.fromkeys((*before.signatures, *more.signatures))))
    if len(msgspec.json.encode(both)) > LIMIT:
        raise Malformed(f"with these signatures it would be larger than {LIMIT} bytes")
    return both


def payload(one: Signed) -> bytes:
    """The bytes that are signed: a witness signs the same ones."""
    return _bytes(one.payload)


def signers(one: Signed, keys: Sequence[JWK]) -> tuple[str, ...]:
    """The `kid`s of those of some keys that have signed a checkpoint; none where nobody has."""
    found = []
    for signature in one.signatures:
        try:
            read = jws.read(f"{signature.protected}.{one.payload}.{signature.signature}")
            if read.header.get("typ") == TYPE:
                found.append(str(jws.verify(read, keys, ALGORITHMS).kid))
        except (Malformed, Refused):
            continue
    return tuple(dict.fromkeys(found))


def claimed(one: Signed) -> tuple[str, ...]:
    """The `kid`s that the signatures of a checkpoint name, whether or not they are those keys'."""
    found = (jws.read(f"{each.protected}.{one.payload}.{each.signature}").kid for each in one.signatures)
    return tuple(str(kid) for kid in found if kid)


def body(one: Signed) -> dict[str, Any]:
    """A checkpoint as it is published."""
    built: dict[str, Any] = msgspec.to_builtins(one)
    return built
