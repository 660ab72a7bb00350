"""Client ID Metadata Documents are met: fetched by the one guard, judged as a registration is, and remembered (CIMD §4).

What is believed has bounds. It is fetched again when the answer that it came in says so, within what the operator set;
where that cannot be done it is believed for a while and no longer; and what is refused now is not believed for what it
was. Whatever changes is told in the write that changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registrar.domain import events, expansion, metadata_document, strict_json
from registrar.domain.access_token import GRANT
from registrar.domain.client import Assurance, Client, State
from registrar.domain.errors import DocumentError, ProtocolError, RegistrationError
from registrar.domain.events import Actor, Event
from registrar.domain.findings import Finding
from registrar.domain.metadata import Presented
from registrar.domain.metadata_document import MEMBER
from registrar.domain.settings import MetadataDocuments
from registrar.domain.strict_json import NotStrict
from registrar.policy import Decision, Facts, Judge
from registrar.policy.policy import ExpansionVerdict
from registrar.policy.rules import identity
from registrar.service import changes, known_documents, limits, parts
from registrar.service.audit import Caller
from registrar.service.known_documents import KIND, OWNER, Document, Known
from registrar.service.ports import Change, Conflict, DropAll, Fetched, FetchError, Put, Tell
from registrar.service.registry import Issuer, Registry

_METHODS: Final = "token_endpoint_auth_methods_supported"
_PAGE: Final = 200
_ROOM: Final = 20
"""Of so many documents one makes room at a time, so that not each new one has all of them read."""


async def meet(registry: Registry, issuer: Issuer, url: str, caller: Caller) -> Client:
    """The client of a URL that somebody begins something with, as its document says now or a moment ago.

    Args:
        registry: what every use case is given.
        issuer: one that serves such clients.
        url: the client_id.
        caller: who names it.

    Raises:
        DocumentError: it is no such identifier, or its document cannot be had, or is not believed.
        ProtocolError: `access_denied`; it is blocked. `too_many_registrations`, `too_many_clients`; it was not known.
        StoreUnavailable: the store does not answer.
    """
    settings, now = issuer.settings.metadata_documents, registry.clock() // 1000
    if fault := _admitted(issuer, url):
        raise await _refused(registry, issuer, "", caller, DocumentError([fault]))
    known = await known_documents.stored(registry, issuer, url)
    if known is not None and _settled(issuer, known, now):
        return _as_known(issuer, known, now)
    async with registry.turns.of(f"document {issuer.name} {url}"):  # of all who name it at once, one has it fetched
        known = await known_documents.stored(registry, issuer, url)
        if known is not None and _settled(issuer, known, now):
            return _as_known(issuer, known, now)
        if findings := registry.refusals.of(issuer.name, url, now, settings.retry_seconds):
            if known is not None and now < known.document.until:
                return known.client(issuer, now)
            raise DocumentError(findings)
        if known is None:
            await limits.names_document(registry, issuer, caller.address, metadata_document.host(url))
        return await _renewed(registry, issuer, url, known, caller)


def _admitted(issuer: Issuer, url: str) -> Finding | None:
    if fault := metadata_document.judge_url(url):
        return fault
    host = metadata_document.host(url)
    if issuer.believes(host):
        return None
    return metadata_document.ADMITTED.refuse(MEMBER, host=host, accepted=str(issuer.document_hosts))


def _settled(issuer: Issuer, known: Known, now: int) -> bool:
    """Whether nothing has to be fetched: it is fresh and was judged by this policy, or it is blocked whatever it says."""
    one = known.document
    return bool(one.blocked_at) or (one.fresh(now) and one.judged_by == _judge(issuer).terms)


def _as_known(issuer: Issuer, known: Known, now: int) -> Client:
    """A client of which nothing has to be fetched; of one that was blocked unseen there is nothing else to be told."""
    if known.document.blocked_at:
        raise ProtocolError("access_denied", "This client is blocked here; the operator can tell why.")
    return known.client(issuer, now)


def _judge(issuer: Issuer) -> Judge:
    assert issuer.documents is not None
    return issuer.documents


async def _renewed(registry: Registry, issuer: Issuer, url: str, known: Known | None, caller: Caller) -> Client:
    """The client once its document was fetched, or could not be."""
    settings = issuer.settings.metadata_documents
    # One that was blocked before anybody had seen it says nothing that could expand.
    before = known.document if known is not None and known.document.digest else None
    believed = before is not None and before.until > 0 and before.judged_by == _judge(issuer).terms
    etag = before.etag if before is not None and believed else ""
    fetch = registry.fetch_documents or registry.fetch
    try:
        fetched = await fetch(url, accept=metadata_document.ACCEPT, limit=settings.bytes, etag=etag)
    except FetchError as problem:
        now = registry.clock() // 1000
        accepted = {"media": "application/json or application/...+json", "limit": settings.bytes}
        fault = metadata_document.UNAVAILABLE.refuse(MEMBER, problem=problem.reason, **accepted)
        registry.refusals.keep(issuer.name, url, now + settings.retry_seconds, [fault])
        if known is not None and now < known.document.until:
            return known.client(issuer, now)
        raise await _refused(registry, issuer, url, caller, DocumentError([fault])) from None
    now = registry.clock() // 1000
    digest = hashlib.sha256(fetched.body).hexdigest()
    if before is not None and believed and (fetched.unchanged or digest == before.digest):
        after = msgspec.structs.replace(before, **_times(settings, fetched, now))
        return await _kept(registry, issuer, known, after, now)
    try:
        presented, decision = await _judged(registry, issuer, url, fetched.body, before)
        if before is not None:
            _check_expansion(issuer, before, decision, presented)
    except RegistrationError as refusal:
        registry.refusals.keep(issuer.name, url, now + settings.retry_seconds, refusal.findings)
        error = DocumentError(refusal.findings, requested=refusal.requested)
        raise await _refused(registry, issuer, url, caller, error, known) from None
    after = Document(
        url=url,
        metadata=decision.metadata,
        provenance=dict(decision.provenance),
        digest=digest,
        judged_by=_judge(issuer).terms,
        created_at=before.created_at if before else now,
        changed_at=now,
        flags=identity.flags(decision.findings),
        # What was consented to before a document was forgotten must not count for what it says when it comes again.
        expanded_at=before.expanded_at if before else now,
        held=before.held if before else _why_held(issuer, decision),
        reason=before.reason if before else "",
        **_times(settings, fetched, now),
    )
    if before is None:
        event = _event(registry, issuer, "document.accepted", after, caller, presented, decision)
        room = await _room(registry, issuer, now) if known is None else []
        return await _kept(registry, issuer, known, after, now, [event], room)
    after, kinds = _expanded(issuer, before, after, now)
    if before.metadata == after.metadata and before.held == after.held:
        return await _kept(registry, issuer, known, msgspec.structs.replace(after, changed_at=before.changed_at), now)
    told = {"difference": events.difference(before.metadata, after.metadata), "reason": ", ".join(kinds)}
    event = _event(registry, issuer, "document.changed", after, caller, presented, decision, told)
    return await _kept(registry, issuer, known, after, now, [event])


def _times(settings: MetadataDocuments, fetched: Fetched, now: int) -> dict[str, Any]:
    """Until when it counts: as its answer says (RFC 9111), within the bounds of the operator."""
    said = settings.fresh_seconds if fetched.expires_in is None else fetched.expires_in
    fresh = min(max(said, settings.fresh_seconds_at_least), settings.fresh_seconds_at_most)
    return {
        "etag": fetched.etag,
        "fetched_at": now,
        "fresh_until": now + fresh,
        "until": now + settings.hard_seconds,
    }


async def _judged(
    registry: Registry, issuer: Issuer, url: str, body: bytes, before: Document | None
) -> tuple[Presented, Decision]:
    """A document as it was read, and what it becomes.

    Raises:
        RegistrationError: with every fault.
    """
    judge = _judge(issuer)
    try:
        presented = Presented(strict_json.read_object(body))
    except NotStrict as problem:
        raise RegistrationError([metadata_document.JSON.refuse(MEMBER, problem=problem)]) from None
    faults = metadata_document.judge(url, presented)
    methods = [one for one in judge.offered[_METHODS] if judge.policy.permits("token_endpoint_auth_method", one)]
    members, chosen = metadata_document.asked(presented, methods)
    shaped, read = judge.read(members)
    facts = Facts(Assurance.DOCUMENT, before=before.metadata if before else None)
    if not faults and not judge.documents.isdisjoint(shaped):
        facts = await parts.documents(registry, shaped, facts, judge.documents)
    decision = judge(shaped, facts, [*faults, *chosen, *read])
    if decision.refused:
        raise RegistrationError(decision.findings, requested=presented)
    return presented, decision


def _why_held(issuer: Issuer, decision: Decision) -> str:
    return _judge(issuer).policy.review.why(decision.metadata, identity.flags(decision.findings))


def _as_client(issuer: Issuer, one: Document) -> Client:
    """The client that a document describes, as if it could do what it says: to compare it with what it becomes."""
    client = Known(one, 1).client(issuer, one.fetched_at)
    return msgspec.structs.replace(client, state=State.PENDING if one.held else State.ACTIVE)


def _check_expansion(issuer: Issuer, before: Document, decision: Decision, presented: Presented) -> None:
    """Refuse what the policy does not let a registration give itself either.

    Raises:
        RegistrationError: with the expansions that it refuses.
    """
    policy = _judge(issuer).policy
    kinds = expansion.expansions(before.metadata, decision.metadata)
    found = [expansion.KINDS[kind] for kind in kinds if policy.changes.of(kind) is ExpansionVerdict.REFUSE]
    if found and not before.held:
        faults = [metadata_document.EXPANDED.refuse(kind.member, kind=kind.name) for kind in found]
        raise RegistrationError(faults, requested=presented)


def _expanded(issuer: Issuer, before: Document, after: Document, now: int) -> tuple[Document, tuple[str, ...]]:
    """A document that takes the place of another, marked where it gives more, and the kinds of that."""
    kinds = expansion.expansions(before.metadata, after.metadata)
    if expansion.asks_again(kinds):
        after = msgspec.structs.replace(after, expanded_at=max(now, before.expanded_at + 1))
    policy = _judge(issuer).policy
    verdict = changes.verdict(policy, _as_client(issuer, before), _as_client(issuer, after), kinds)
    if verdict is ExpansionVerdict.REVIEW:
        after = msgspec.structs.replace(after, held=", ".join(kinds) or policy.review.why(after.metadata, after.flags))
    return after, kinds


async def _kept(
    registry: Registry,
    issuer: Issuer,
    known: Known | None,
    after: Document,
    now: int,
    told: Sequence[Event] = (),
    more: Sequence[Change] = (),
) -> Client:
    """Remember a document; where another process was faster, it is what that one has remembered."""
    version = known.version if known else 0
    try:
        put = Put(known_documents.item(issuer, after, version + 1), expected=version)
        await registry.store.change([*more, put], told)
    except Conflict:
        other = await known_documents.stored(registry, issuer, after.url)
        if other is None:
            raise ProtocolError("temporarily_unavailable") from None  # it was forgotten this very moment
        return other.client(issuer, now)
    registry.refusals.forget(issuer.name, after.url)
    return Known(after, version + 1).client(issuer, now)


def _event(
    registry: Registry,
    issuer: Issuer,
    kind: str,
    after: Document,
    caller: Caller,
    presented: Presented,
    decision: Decision,
    more: dict[str, Any] | None = None,
) -> Event:
    client = _as_client(issuer, after)
    detail = events.registration_detail(client, presented, decision.findings, _judge(issuer).policy.digest)
    detail |= {"document_digest": after.digest, "version": 0, **({"reason": after.held} if more is None else more)}
    return registry.audit.event(
        kind, issuer.name, _anybody(caller), endpoint=caller.endpoint, client_id=after.url, detail=detail
    )


def _anybody(caller: Caller) -> Actor:
    """Who had it fetched: nobody has authenticated yet."""
    return Actor("anonymous", "none", address=caller.address)


async def _refused(
    registry: Registry,
    issuer: Issuer,
    url: str,
    caller: Caller,
    error: DocumentError,
    known: Known | None = None,
) -> DocumentError:
    """The refusal, once it is told; what was believed before is believed no more, in the same write."""
    quota = issuer.settings.audit.refusals_per_minute
    if known is None or not known.document.until:
        await registry.audit.refused(issuer.name, quota, caller, error, {}, url, kind="document.refused")
        return error
    no_more = msgspec.structs.replace(known.document, fresh_until=0, until=0, etag="")
    detail = events.refusal_detail(error.kind.name, error.description, error.requested, error.findings)
    event = registry.audit.event(
        "document.refused", issuer.name, _anybody(caller), endpoint=caller.endpoint, client_id=url, detail=detail
    )
    put = Put(known_documents.item(issuer, no_more, known.version + 1), expected=known.version)
    try:
        await registry.store.change([put], [event])
    except Conflict:  # another process has fetched it meanwhile, and found the same or what came after it
        await registry.audit.refused(issuer.name, quota, caller, error, {}, url, kind="document.refused")
    return error


# --- room ---------------------------------------------------------------------------------------------------------------


async def _room(registry: Registry, issuer: Issuer, now: int) -> list[Change]:
    """What has to go so that one more document can be remembered: unused ones, those fetched longest ago first.

    Raises:
        ProtocolError: `too_many_clients`; all of them are used.
    """
    most = issuer.settings.metadata_documents.most
    count = await registry.store.count_items(issuer.name, KIND, OWNER)
    if count < most:
        return []
    found: list[Known] = []
    after = ""
    while page := await registry.store.items(issuer.name, KIND, owner=OWNER, after=after, limit=_PAGE):
        found += [one for one in map(known_documents.read, page) if one is not None]
        after = page[-1].key
    wanted, gone = count - most + max(1, most // _ROOM), list[Change]()
    for one in sorted(found, key=lambda one: one.document.fetched_at):
        if len(gone) == 2 * wanted:
            break
        document = one.document
        if document.blocked_at or await _used(registry, issuer, document.url, now):
            continue
        gone += forgotten(registry, issuer, document.url, Actor("registrar", "none"), "", "to make room")
    if len(gone) < 2 * (count - most + 1):
        raise ProtocolError(
            "too_many_clients", "As many client documents are remembered as may, and people use them all."
        )
    return gone


async def _used(registry: Registry, issuer: Issuer, url: str, now: int) -> bool:
    """Whether something that a person allowed its client still lives."""
    after = ""
    while page := await registry.store.items(issuer.name, GRANT, client_id=url, after=after, limit=_PAGE):
        if any(item.lives(now) for item in page):
            return True
        after = page[-1].key
    return False


def forgotten(registry: Registry, issuer: Issuer, url: str, actor: Actor, endpoint: str, reason: str) -> list[Change]:
    """The changes that take a document away, with everything that belongs to its client."""
    event = registry.audit.event(
        "document.forgotten", issuer.name, actor, endpoint=endpoint, client_id=url, detail={"reason": reason}
    )
    return [DropAll(issuer.name, client_id=url), Tell(event)]
