"""Receipts: a signed statement of what was registered, by whose leave, under which policy and when.

Its holder needs nobody's word for it: the signature can be verified with the public keys of the audit, and the proof
leads from the event of the registration to a checkpoint that others may have kept, without a look at the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from registrar.domain import chain, checkpoint, events, jws, merkle
from registrar.domain.chain import Batch
from registrar.domain.checkpoint import ALGORITHMS, Signed
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.jws import JWK, Malformed, Refused
from registrar.service import checkpoints, tree
from registrar.service.checkpoints import Tampered
from registrar.service.ports import EventQuery, StoredEvent
from registrar.service.registry import Issuer, Registry

TYPE: Final = "registration-receipt+jwt"
"""The `typ` of a receipt (RFC 8725 §3.11)."""
_REGISTERED: Final = ("client.registered", "client.updated", "review.approved")


class Proof(msgspec.Struct, frozen=True):
    """The way from an event to a checkpoint; hashes in base64url."""

    index: int
    """The event's place in its batch, from 0."""
    in_batch: tuple[str, ...]
    writer: str
    number: int
    events: int
    before: str
    """The link of the batch before."""
    place: int
    """The batch's place in the log, from 0."""
    in_log: tuple[str, ...]
    checkpoint: Signed


async def issue(registry: Registry, issuer: Issuer, client: Client) -> str:
    """The receipt of what is registered now, as a compact JWS; with a proof, where a checkpoint covers its event.

    Raises:
        ProtocolError: `temporarily_unavailable`, where there is no key to sign with; `not_found`, where the event is gone.
        StoreUnavailable: the store does not answer.
    """
    if not registry.keys:
        raise ProtocolError("temporarily_unavailable", "This server has no key-encryption key, and signs nothing.")
    stored = await _event(registry, client)
    if stored is None:
        raise ProtocolError("not_found", "The event of this registration is in the audit no more.")
    await checkpoints.ensure_key(registry)
    said: dict[str, Any] = msgspec.json.decode(stored.event.body)
    admission = client.admission
    claims = {
        "iss": issuer.url,
        "iat": registry.clock() // 1000,
        "sub": client.client_id,
        "registration_endpoint": issuer.registration_endpoint,
        "client_id": client.client_id,
        "client_id_issued_at": client.created_at,
        "registered_at": stored.event.time_ms // 1000,
        "state": client.state.value,
        "metadata": client.metadata,
        "provenance": client.provenance,
        "assurance": admission.shown.value,
        "initial_access_token": _present(
            token_id=admission.token_id,
            label=admission.label,
            scope=" ".join(admission.token_scope),
            handling="its policy and its scope bound the registration" if admission.token_id else "none was used",
        ),
        "software_statement": _present(
            issuer=admission.statement_issuer,
            digest=admission.statement_digest,
            handling="its members take precedence over plain ones" if admission.statement_issuer else "none was used",
        ),
        "policy": said.get("policy", ""),
        "policy_digest": said.get("policy_digest", ""),
        "template": client.template or None,
        "labels": client.labels or None,
        "management": ["read", "update", "delete"] if issuer.managed and client.credentials.tokens else [],
        "event": {
            "kind": stored.event.kind,
            # Byte for byte: else the proof would be of something that only the registry can say what it is.
            "body": stored.event.body.decode(),
            "writer": stored.writer,
            "batch": stored.batch,
            "position": stored.position,
        },
        "proof": await prove(registry, stored),
    }
    return await checkpoints.sign(registry, {name: value for name, value in claims.items() if value is not None}, TYPE)


def _present(**members: str) -> dict[str, str]:
    return {name: value for name, value in members.items() if value}


async def _event(registry: Registry, client: Client) -> StoredEvent | None:
    """The event that says what is registered now: that of the registration, or of the last update.

    By their kinds: of a client that reads itself every minute there are many others.
    """
    found: list[StoredEvent] = []
    for kind in _REGISTERED:
        query, after = EventQuery(client.issuer, kind, client.client_id), 0
        while page := await registry.store.events(query, after=after):
            after = page[-1].sequence
            found.append(page[-1])
    return max(found, key=lambda one: one.sequence, default=None)


async def prove(registry: Registry, stored: StoredEvent) -> Proof | None:
    """The way from an event to the newest checkpoint; None where none covers it yet.

    To the newest one that witnesses have signed, where that covers it: whoever trusts them needs no other.

    Raises:
        StoreUnavailable: the store does not answer.
        Tampered: what is stored does not lead there.
    """
    ends = await checkpoints.witnessed(registry), await checkpoints.latest(registry)
    held = await registry.store.batches(after=(stored.writer, stored.batch - 2), limit=2)
    own = next((one for one in held if (one.writer, one.number) == (stored.writer, stored.batch)), None)
    if own is None or not own.place:
        return None
    signed = next((one for one in ends if one is not None and own.place <= one.checkpoint.size), None)
    if signed is None:
        return None
    before = next((one.link for one in held if one.number == own.number - 1), chain.BEGINNING)
    bodies = [one.event.body for one in await registry.store.told(own.writer, own.number, own.number)]
    if len(bodies) != own.events:
        return None
    said, place = signed.checkpoint, own.place - 1
    path = await tree.Proofs(registry.store).roots(merkle.inclusion_spans(said.size, place))
    if not merkle.includes(chain.entry(own), place, said.size, path, checkpoint.hashed(said.root)):
        raise Tampered("the log of the audit does not lead to its checkpoint; `registrar audit verify` tells more")
    return Proof(
        index=stored.position,
        in_batch=_texts(merkle.inclusion([merkle.leaf(body) for body in bodies], stored.position)),
        writer=own.writer,
        number=own.number,
        events=own.events,
        before=checkpoint.text(before),
        place=place,
        in_log=_texts(path),
        checkpoint=signed,
    )


class Grown(NamedTuple):
    """The newest checkpoint, and the proof that its log begins with an earlier one; hashes in base64url."""

    checkpoint: Signed
    proof: tuple[str, ...]


async def consistency(registry: Registry, before: int) -> Grown:
    """That the log has only grown since it had `before` batches.

    Raises:
        IndexError: the log never had that size, or there is no checkpoint.
        StoreUnavailable: the store does not answer.
    """
    signed = await checkpoints.latest(registry)
    if signed is None:
        raise IndexError(before)
    spans = merkle.consistency_spans(signed.checkpoint.size, before)
    return Grown(signed, _texts(await tree.Proofs(registry.store).roots(spans)))


def _texts(hashes: list[bytes]) -> tuple[str, ...]:
    return tuple(map(checkpoint.text, hashes))


# --- verifying, with nothing but keys -----------------------------------------------------------------------------------


class _Told(msgspec.Struct):
    """What an event has to say to be that of a receipt."""

    kind: str
    client_id: str
    time: int
    template: str = ""
    policy: str = ""
    policy_digest: str = ""


class Verified(msgspec.Struct, frozen=True):
    """A receipt whose signature is right."""

    claims: dict[str, Any]
    proof: Proof | None
    """Its proof, where it has one; it was checked too."""
    witnesses: tuple[str, ...] = ()
    """The keys, among those that were given, that have signed the checkpoint of the proof."""


def verify(compact: str, keys: Sequence[JWK]) -> Verified:
    """Verify a receipt, and its proof where it has one, with the public keys of the audit.

    Args:
        compact: the receipt.
        keys: of the audit, and of witnesses where there are some.

    Raises:
        Malformed: it is no receipt.
        Refused: saying what in it is not so.
    """
    from joserfc.errors import JoseError

    read = jws.read(compact, checkpoint.LIMIT * 4)
    if read.header.get("typ") != TYPE:
        raise Malformed("it is no receipt of a registration")
    claims = jws.verify(read, keys, ALGORITHMS).claims
    try:
        proof = msgspec.convert(claims["proof"], Proof) if "proof" in claims else None
        body = claims["event"]["body"].encode()
        told = msgspec.json.decode(body, type=_Told)
        members: dict[str, Any] = msgspec.json.decode(body)
        registered = events.registered(claims["metadata"])
    except (msgspec.ValidationError, msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError, JoseError):
        raise Malformed("its event, its metadata or its proof cannot be read") from None
    if told.client_id != claims.get("client_id") or told.kind not in _REGISTERED:
        raise Refused("its event is not of this registration")
    # The proof is of the event alone: what else the registry signs has to be what the event says. Only an instance has
    # what its template has by now.
    other = [name for name, value in registered.items() if not told.template and members.get(name) != value]
    bound = {"policy": told.policy, "policy_digest": told.policy_digest, "registered_at": told.time // 1000}
    other += [name for name, value in bound.items() if claims.get(name) != value]
    if other:
        raise Refused(f"its {other[0]} is not what its event says")
    if proof is None:
        return Verified(claims, None)
    said = proof.checkpoint.checkpoint
    witnesses = checkpoint.signers(proof.checkpoint, keys)
    if not witnesses:
        raise Refused("no key that was given has signed the checkpoint of its proof")
    batch = _batch(proof, merkle.leaf(body))
    if batch is None or not merkle.includes(
        chain.entry(batch),
        proof.place,
        said.size,
        [*map(checkpoint.hashed, proof.in_log)],
        checkpoint.hashed(said.root),
    ):
        raise Refused("its proof does not lead from the event to the checkpoint")
    return Verified(claims, proof, witnesses)


def _batch(proof: Proof, leaf: bytes) -> Batch | None:
    """The batch that the proof leads to from the event."""
    root = merkle.led(leaf, proof.index, proof.events, [*map(checkpoint.hashed, proof.in_batch)])
    if root is None:
        return None
    link = chain.link(checkpoint.hashed(proof.before), proof.writer, proof.number, proof.events, root)
    return Batch(proof.writer, proof.number, proof.events, root, link)
