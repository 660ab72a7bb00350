"""Many clients at once: suspended, resumed, deleted, or given new secrets; in pages, each client with its own event.

What is done is a job: a record of what was asked, by whom, and how far it has come. It is written after each page, so that
a job that was broken off goes on where it was. At the most a page is gone through twice, which changes nothing but that a
secret is replaced twice.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from registrar.domain import coherence
from registrar.domain.client import Client, State
from registrar.domain.events import Event
from registrar.domain.terms import term
from registrar.service import administration, leases, operators
from registrar.service.operators import Operator, Refused, Unknown
from registrar.service.ports import Change, ClientQuery, Conflict, Drop, Item, Put, StoreUnavailable
from registrar.service.registry import Issuer, Registry

KIND: Final = "bulk"
"""What jobs are called among the items of a store; the key is the job's identifier."""
OPEN: Final = "bulk_open"
"""And those that a server still has to do."""
KEPT: Final = 2_592_000
"""Seconds for which a job is kept that is over, or was never gone on with."""
_PAGE: Final = 100
_LEASE: Final = 20
_BUSY: Final = "another process is at the job {}, or was killed at it some seconds ago; try again"
_SKEW_MS: Final = 60_000
"""Clients that were registered so much later are meant too: the clock of another process may be ahead of this one's, and
nobody may slip through by it."""
_AGAIN: Final = 15
"""Seconds after which a server looks for jobs that another one has left behind."""
_SELECTION: Final = 4_096
_NAMED: Final = 20
"""Clients of which a job tells why they were left alone."""

log = logging.getLogger("registrar")

HandOut = Callable[[str, str], None]
"""Takes a new secret: the client's identifier, and the secret."""
Tell = Callable[["Job", int], None]
"""Is told of progress: the job, and how many clients were looked at since the last time."""


class Act(enum.StrEnum):
    """What is done to each client."""

    SUSPEND = "suspend"
    RESUME = "resume"
    DELETE = "delete"
    ROTATE_SECRET = "rotate-secret"  # noqa: S105 (a word, not a secret)

    def fits(self, client: Client) -> bool:
        """Whether there is anything to do."""
        match self:
            case Act.SUSPEND:
                return client.state is State.ACTIVE or client.dormant
            case Act.RESUME:
                return client.state is State.SUSPENDED
            case Act.DELETE:
                return client.state is not State.DELETED
            case Act.ROTATE_SECRET:
                held = client.credentials.secrets
                return client.state is not State.DELETED and bool(held) and coherence.needs_secret(client.metadata)


class Selection(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Which clients. What is asked together has to hold together."""

    software: str = ""
    """Their own `software_id`; instances of a template are found by the template."""
    template: str = ""
    """The template that they are instances of."""
    token: str = ""
    """The identifier of the initial access token that they were registered with."""
    owner: str = ""
    """The person whose they are."""
    statement_issuer: str = ""
    """The configured name of the issuer of their software statement."""
    policy: str = ""
    """The name of a policy that judges them, by itself or beside others."""
    client_class: str = msgspec.field(name="class", default="")
    """The class that the facts of their admission gave them."""
    host: str = ""
    """A host that one of their redirect URIs leads to."""
    labels: dict[str, str] = {}
    """What they are labelled with: tenant, connector, package, …"""
    everything: bool = msgspec.field(name="all", default=False)
    """Every client of the issuer; it has to be said, so that a selection that was left out is none."""

    def check(self) -> None:
        """Refuse a selection of nothing, which would be one of everything.

        Raises:
            Refused: nothing is asked, or more than an event should hold.
        """
        asked = msgspec.to_builtins(self)
        if not asked or ("all" in asked and len(asked) > 1):
            raise Refused(f"a selection asks for something: {', '.join(_NAMES)}; or for all, and nothing beside it")
        if len(_encode(self)) > _SELECTION:
            raise Refused(f"a selection has {_SELECTION} bytes at the most, as JSON: events tell of it")

    def query(self, issuer: str, before_ms: int = 0) -> ClientQuery:
        """The clients that an index finds; `holds` tells which of them are meant."""
        named = {"software": self.software, "token": self.token, "owner": self.owner, "host": self.host}
        named |= {"statement": self.statement_issuer, "class": self.client_class}
        named |= {f"label.{name}": value for name, value in self.labels.items()}
        terms = tuple(term(name, value) for name, value in named.items() if value)
        return ClientQuery(issuer, template=self.template or None, terms=terms, created_before=before_ms)

    def holds(self, client: Client) -> bool:
        """What no index knows: whether a policy judges it, and that what an index cut short is meant all the same."""
        admission = client.admission
        return (
            (not self.policy or self.policy in client.policy.split())
            and self.software in ("", client.metadata.get("software_id"))
            and self.owner in ("", admission.owner)
            and self.labels.items() <= client.labels.items()
        )

    def told(self) -> dict[str, Any]:
        """As an event tells of it: a person is not named."""
        asked: dict[str, Any] = msgspec.to_builtins(self)
        return {name: True if name == "owner" else value for name, value in asked.items()}


_NAMES: Final = tuple(field.encode_name for field in msgspec.structs.fields(Selection) if field.name != "everything")


class Job(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was asked, and how far it has come."""

    job_id: str
    act: Act
    selection: Selection
    reason: str = ""
    overlap: int | None = None
    """Seconds for which replaced secrets still work; the issuer's setting when None."""
    person: str
    door: str
    token_id: str = ""
    before_ms: int = 0
    """Milliseconds since 1970; clients that were registered from then on are not meant, so that a job has an end. 0 is none."""
    started_at: int
    finished_at: int = 0
    stopped: bool = False
    after: str = ""
    """The client that was looked at last."""
    looked_at: int = 0
    changed: int = 0
    left: dict[str, str] = {}
    """Some of the clients that should have been changed and were not, and why."""
    left_alone: int = 0
    """How many of these there are."""

    @property
    def operator(self) -> Operator:
        """Who acts; the door names the job, and so does the event of each client."""
        return Operator(self.person, f"{self.door} {self.job_id}", self.token_id)

    @property
    def state(self) -> JobState:
        """Where it is in its life."""
        return JobState.STOPPED if self.stopped else JobState.FINISHED if self.finished_at else JobState.OPEN

    def public(self) -> ShownJob:
        """What is shown of it."""
        return ShownJob(
            job_id=self.job_id,
            act=self.act,
            selection=self.selection,
            reason=self.reason,
            overlap=msgspec.UNSET if self.overlap is None else self.overlap,
            started_at=self.started_at,
            finished_at=self.finished_at,
            stopped=self.stopped,
            looked_at=self.looked_at,
            changed=self.changed,
            left=self.left,
            left_alone=self.left_alone,
            state=self.state,
        )


class JobState(enum.StrEnum):
    """Where a job is in its life."""

    OPEN = "open"
    FINISHED = "finished"
    STOPPED = "stopped"


class ShownJob(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A job as operators see it: what was asked, and how far it has come. Times are in seconds since 1970."""

    job_id: str
    """What it is called."""
    act: Act
    """What is done to each client."""
    selection: Selection
    """To which clients."""
    reason: str = ""
    """Why; it stands in the audit."""
    overlap: int | msgspec.UnsetType = msgspec.UNSET
    """Seconds for which replaced secrets still work, where that was said."""
    started_at: int
    """When it was started."""
    finished_at: int = 0
    """When it was done, where it is."""
    stopped: bool = False
    """Whether it was stopped."""
    looked_at: int
    """How many clients were looked at."""
    changed: int
    """How many of these were changed."""
    left: dict[str, str] = {}
    """Some of the clients that should have been changed and were not: their identifier -> why."""
    left_alone: int = 0
    """How many of these there are."""
    state: JobState
    """Where it is in its life."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Job).decode


async def survey(
    registry: Registry, issuer: Issuer, act: Act, selection: Selection, *, most: int = 0, tell: Callable[[int], None]
) -> tuple[int, int, bool]:
    """How many clients are meant, how many of them would be changed, and whether all were looked at; nothing is.

    Args:
        registry: what every use case is given.
        issuer: whose clients.
        act: what would be done.
        selection: to which of them.
        most: how many are looked at; 0 is all.
        tell: is told how many were looked at, after each page.

    Raises:
        Refused: nothing is selected.
        StoreUnavailable: the store does not answer.
    """
    selection.check()
    meant = fit = seen = 0
    async for page in _pages(registry, issuer, selection.query(issuer.name), ""):
        living = [one for one in page if one.state is not State.DELETED and selection.holds(one)]
        meant, fit, seen = meant + len(living), fit + sum(map(act.fits, living)), seen + len(page)
        tell(len(page))
        if most and seen >= most:
            return meant, fit, False
    return meant, fit, True


async def start(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    act: Act,
    selection: Selection,
    *,
    reason: str = "",
    overlap: int | None = None,
    at_server: bool = False,
    whenever: bool = False,
) -> Job:
    """Write down a job; `run` does it.

    Args:
        registry: what every use case is given.
        issuer: whose clients.
        operator: who asks.
        act: what is done.
        selection: to which clients.
        reason: why; it goes into the event of each.
        overlap: seconds for which replaced secrets still work.
        at_server: whether a server does it, and goes on with it when another one is killed.
        whenever: whether clients are meant that come later too; of a token that is revoked none does.

    Raises:
        Refused: nothing is selected, the reason is too long, or there is no key-encryption key to rotate secrets under.
        StoreUnavailable: nothing was written down.
    """
    selection.check()
    operators.check_reason(reason)
    operators.check_overlap(overlap)
    if act is Act.ROTATE_SECRET and not registry.keys:
        raise Refused("rotating secrets needs a key-encryption key (server.key_file)")
    now_ms = registry.clock()
    job = Job(
        job_id=f"{now_ms:011x}{registry.entropy(6).hex()}",
        act=act,
        selection=selection,
        reason=reason,
        overlap=overlap,
        person=operator.person,
        door=operator.door,
        token_id=operator.token_id,
        before_ms=0 if whenever else now_ms + _SKEW_MS,
        started_at=now_ms // 1000,
    )
    changes: list[Change] = [Put(_item(issuer, job, 1), 0)]
    if at_server:
        changes.append(Put(Item(issuer.name, OPEN, job.job_id, b"", expires_at=job.started_at + KEPT)))
    await registry.store.change(changes, [_event(registry, issuer, job, "bulk.started")])
    return job


async def run(
    registry: Registry, issuer: Issuer, job_id: str, *, hand_out: HandOut | None = None, tell: Tell | None = None
) -> Job:
    """Do a job, or go on with it where it was.

    Args:
        registry: what every use case is given.
        issuer: whose clients.
        job_id: the job.
        hand_out: takes new secrets; without it, clients fetch theirs with their registration access tokens.
        tell: is told after each page.

    Raises:
        Refused: there is no such job, it is over, or another process is at it.
        StoreUnavailable: the store does not answer; the job goes on when it is run again.
    """
    job, version = await _found(registry, issuer, job_id)
    if job.state != "open":
        raise Refused(f"the job {job_id} is {job.state}")
    holder, task = registry.entropy(8).hex(), f"bulk {job_id}"
    if not await leases.take(registry.store, task, holder, registry.clock() // 1000, _LEASE):
        raise Refused(_BUSY.format(job_id))
    try:
        async for page in _pages(registry, issuer, job.selection.query(issuer.name, job.before_ms), job.after):
            if not await leases.take(registry.store, task, holder, registry.clock() // 1000, _LEASE):
                raise Refused(_BUSY.format(job_id))
            job = await _page_done(registry, issuer, job, page, hand_out)
            version = await _kept(registry, issuer, job, version)
            if tell is not None:
                tell(job, len(page))
        job = msgspec.structs.replace(job, finished_at=registry.clock() // 1000)
        await _kept(registry, issuer, job, version, _event(registry, issuer, job, "bulk.finished"))
    finally:
        await leases.give_up(registry.store, task, holder)
    return job


async def stop(registry: Registry, issuer: Issuer, operator: Operator, job_id: str) -> Job:
    """Stop a job; what is done stays done.

    Raises:
        Refused: there is no such job, or it is over.
        StoreUnavailable: the store does not answer.
    """
    while True:
        job, version = await _found(registry, issuer, job_id)
        if job.state != "open":
            raise Refused(f"the job {job_id} is {job.state}")
        after = msgspec.structs.replace(job, stopped=True, finished_at=registry.clock() // 1000)
        event = _event(registry, issuer, after, "bulk.stopped", operator)
        changes: list[Change] = [Put(_item(issuer, after, version + 1), version), Drop(issuer.name, OPEN, job_id)]
        try:
            await registry.store.change(changes, [event])
        except Conflict:
            continue  # it has just come a page further
        return after


async def find(registry: Registry, issuer: Issuer, job_id: str) -> Job:
    """A job as it stands.

    Raises:
        Unknown: there is none.
        StoreUnavailable: the store does not answer.
    """
    return (await _found(registry, issuer, job_id))[0]


async def every(registry: Registry, issuer: Issuer, after: str = "") -> AsyncIterator[Job]:
    """The jobs of an issuer, oldest first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    while page := await registry.store.items(issuer.name, KIND, after=after):
        for one in page:
            yield _decode(one.body)
        after = page[-1].key


async def work(registry: Registry, issuer: Issuer, job_id: str) -> None:
    """Do a job of a server's, unless another process is at it."""
    try:
        job = await run(registry, issuer, job_id)
    except Refused as problem:
        log.info("%s", problem)
    else:
        log.info("the job %s is finished: %d clients changed", job.job_id, job.changed)


async def keep_working(registry: Registry) -> None:
    """Go on with jobs that another server has left behind, until cancelled."""
    while True:
        await asyncio.sleep(_AGAIN)
        try:
            for issuer in registry.issuers.values():
                for one in await registry.store.items(issuer.name, OPEN):
                    await work(registry, issuer, one.key)
        except StoreUnavailable as problem:
            log.warning("jobs wait: %s", problem)


async def _pages(registry: Registry, issuer: Issuer, query: ClientQuery, after: str) -> AsyncIterator[list[Client]]:
    while page := await registry.store.clients(query, after=(issuer.name, after), limit=_PAGE):
        yield list(page)
        after = page[-1].client_id


async def _page_done(registry: Registry, issuer: Issuer, job: Job, page: list[Client], hand_out: HandOut | None) -> Job:
    meant = [one for one in page if job.selection.holds(one) and job.act.fits(one)]
    outcomes = await asyncio.gather(*(_one(registry, issuer, job, one, hand_out) for one in meant))
    left = {one.client_id: why for one, why in zip(meant, outcomes, strict=True) if why}
    return msgspec.structs.replace(
        job,
        after=page[-1].client_id,
        looked_at=job.looked_at + len(page),
        changed=job.changed + len(meant) - len(left),
        left_alone=job.left_alone + len(left),
        left=dict([*job.left.items(), *left.items()][:_NAMED]),
    )


async def _one(registry: Registry, issuer: Issuer, job: Job, client: Client, hand_out: HandOut | None) -> str:
    """Do it to one client; why it was not done, or nothing."""
    acting = (registry, issuer, job.operator, client.client_id)
    try:
        if job.act is Act.ROTATE_SECRET:
            secret, _ = await administration.rotate_secret(*acting, overlap=job.overlap, reason=job.reason)
            if hand_out is not None:
                hand_out(client.client_id, secret)
            return ""
        await _ACTS[job.act](*acting, job.reason)
    except Refused as problem:
        return str(problem)
    return ""


_ACTS: Final[dict[Act, Callable[[Registry, Issuer, Operator, str, str], Awaitable[Client]]]] = {
    Act.SUSPEND: administration.suspend,
    Act.RESUME: administration.resume,
    Act.DELETE: administration.delete,
}


async def _found(registry: Registry, issuer: Issuer, job_id: str) -> tuple[Job, int]:
    item = await registry.store.item(issuer.name, KIND, job_id)
    if item is None or not item.lives(registry.clock() // 1000):
        raise Unknown(f"there is no job {job_id} at {issuer.name}")
    return _decode(item.body), item.version


async def _kept(registry: Registry, issuer: Issuer, job: Job, version: int, *events: Event) -> int:
    changes: list[Change] = [Put(_item(issuer, job, version + 1), version)]
    if job.finished_at:
        changes.append(Drop(issuer.name, OPEN, job.job_id))
    try:
        await registry.store.change(changes, events)
    except Conflict:
        raise Refused(f"the job {job.job_id} was stopped, or another process is at it") from None
    return version + 1


def _item(issuer: Issuer, job: Job, version: int) -> Item:
    return Item(issuer.name, KIND, job.job_id, _encode(job), version, expires_at=job.started_at + KEPT)


def _event(registry: Registry, issuer: Issuer, job: Job, kind: str, operator: Operator | None = None) -> Event:
    acting = operator or job.operator
    detail = {"job": job.job_id, "act": job.act.value, "selection": job.selection.told(), "reason": job.reason}
    return registry.audit.event(
        kind, issuer.name, acting.actor(), endpoint=acting.door, detail={**detail, "count": job.changed}
    )
