"""Verifying the audit: every event, every link, every place in the log, every checkpoint. It believes nothing stored.

What is found is named: the writer, the batch, the event; a row that is not even of the right type is found like any other.
What cannot be found is said too: batches that no checkpoint covers can be cut off at the end of a writer's chain, and
events from before there were chains prove nothing.

Others may write, seal and prune meanwhile. So what promises is read before what has to keep it: checkpoints first, then
batches and their events; and what excuses is read last: up to where the retention has taken events away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from registrar.domain import chain, checkpoint, events, jws, merkle
from registrar.domain.chain import Batch
from registrar.domain.checkpoint import Signed
from registrar.domain.jws import JWK, Malformed, Refused
from registrar.domain.merkle import Node
from registrar.service import checkpoints, retention, tree
from registrar.service.checkpoints import Tampered
from registrar.service.ports import EventQuery, Store, StoredEvent
from registrar.service.registry import Registry
from registrar.service.retention import Pruned

_PAGE: Final = 2_000
_EVENTS: Final = 10_000
"""Events that are held at once, give or take a batch."""
_MOST: Final = 100
"""Problems that are told; more are counted."""


class Problem(msgspec.Struct, frozen=True):
    """Something that is not as it was written."""

    where: str
    what: str


class Report(msgspec.Struct):
    """What was found."""

    events: int = 0
    batches: int = 0
    writers: int = 0
    checkpoints: int = 0
    placed: int = 0
    """Batches in the log; those after the last checkpoint are not."""
    unchained: int = 0
    """Events from before there were chains."""
    pruned: int = 0
    """Batches whose events were taken away by the retention."""
    erased: int = 0
    """Events of which whom they name was erased."""
    problems: list[Problem] = []
    more: int = 0
    """Problems that are not told one by one."""

    @property
    def sound(self) -> bool:
        """Whether everything is as it was written."""
        return not self.problems

    def found(self, where: str, what: str) -> None:
        """Note a problem."""
        if len(self.problems) < _MOST:
            self.problems.append(Problem(where, what))
        else:
            self.more += 1


class _Told(msgspec.Struct):
    """What of an event's body is repeated in columns."""

    issuer: str
    kind: str
    time: int
    client_id: str = ""
    personal: dict[str, str] = {}


_told: Final = msgspec.json.Decoder(_Told).decode
_disclosed: Final = msgspec.json.Decoder(dict[str, tuple[str, str]]).decode


class _Excuse(msgspec.Struct):
    """What an event says that tells of something taken away."""

    count: int = 0
    signed: str = ""


_excuse: Final = msgspec.json.Decoder(_Excuse).decode


async def verify(
    registry: Registry,
    *,
    kept: Sequence[Signed] = (),
    keys: Sequence[JWK] | None = None,
    told: Callable[[int, int], None] = lambda _done, _of: None,
) -> Report:
    """Verify the whole audit of a database.

    Args:
        registry: its store is read, and nothing is written.
        kept: checkpoints that were kept elsewhere: a restored backup, or a log made anew, does not agree with them.
        keys: the public keys of the audit, kept elsewhere; without them, those that a key-encryption key here opens, and
            without any of those either, what the database says, which whoever has the database could have replaced.
        told: is told how many events are verified, and of how many.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    store, report = registry.store, Report()
    trusted = await _trusted(registry, report, keys)
    wanted = await _wanted(registry, report, kept)
    scan = _Scan()
    await _batches(store, report, scan, told)
    report.placed = len(scan.entries)
    pruned = await _pruned(store, trusted, {one.checkpoint.log for _, one in wanted}) if scan.absent else None
    _absent(report, scan, pruned)
    await _erased(store, report, scan, pruned)
    every, batched, report.unchained = await store.tally()
    if every != (there := batched - scan.missing + report.unchained):
        report.found("events", f"{every} are stored, and {there} are in batches")
    nodes = _checkpoints(report, _log(report, scan, wanted), wanted, trusted)
    await _nodes(store, report, nodes)
    await _beyond(registry, report, scan)
    return report


async def _trusted(registry: Registry, report: Report, kept: Sequence[JWK] | None) -> list[JWK]:
    """The keys that count; those that are stored are held to what they are."""
    own: Sequence[JWK] = []
    try:
        for kid in await checkpoints.misstated(registry):
            report.found(f"key {kid}", "it is published as another one than it is")
        own = await checkpoints.own(registry) if registry.keys else (await checkpoints.published(registry))["keys"]
    except (msgspec.DecodeError, TypeError):
        report.found("keys", "a key of the audit cannot be read")
    return list(own if kept is None else kept)


class _Scan(msgspec.Struct):
    """What has to be known of the batches once all of them are read."""

    entries: dict[int, bytes] = {}
    """The hashes of those in the log, by their places."""
    absent: list[tuple[str, Batch]] = []
    """Those in the log without any event, and where each is."""
    missing: int = 0
    """Events that batches say there are, and that are not there."""
    erased: list[int] = []
    """The times of events that commit to whom they name, where nothing opens that any more."""
    sequence: int = 0
    """The last sequence number of the writer that is read."""


async def _batches(store: Store, report: Report, scan: _Scan, told: Callable[[int, int], None]) -> None:
    """Every batch with its events."""
    entries = scan.entries
    _, whole, _ = await store.tally()
    before: Batch | None = None
    at = ("", 0)
    while page := await store.batches(after=at, limit=_PAGE):
        for batches in _runs(_typed(report, page)):
            writer = batches[0].writer
            if before is None or before.writer != writer:
                before = None
                scan.sequence = 0
                report.writers += 1
            held = _by_batch(await store.told(writer, batches[0].number, batches[-1].number))
            for one in batches:
                where = f"writer {writer}, batch {one.number}"
                if wrong := chain.linked(before, one):
                    report.found(where, wrong)
                before = one
                _events(report, where, one, held.get(one.number, []), scan)
                if one.place:
                    if one.place in entries:
                        report.found(where, f"place {one.place} of the log is another batch's too")
                    entries[one.place] = chain.entry(one)
            told(report.events, max(whole, report.events))
        report.batches += len(page)
        at = (page[-1].writer, page[-1].number)


def _typed(report: Report, page: Sequence[Batch]) -> list[Batch]:
    """Those that are batches at all: a row of SQLite holds what another hand put there, whatever its column says."""
    found = []
    for one in page:
        if _types(one) == _BATCH:
            found.append(one)
        else:
            report.found(f"writer {one.writer}, batch {one.number}", "it is no batch: a number or a hash is none")
    return found


def _types(one: Batch) -> tuple[type, ...]:
    return type(one.writer), type(one.number), type(one.events), type(one.root), type(one.link), type(one.place)


_BATCH: Final = (str, int, int, bytes, bytes, int)


def _runs(page: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Batches that follow each other at one writer, as many as have events enough to be read at once."""
    run: list[Batch] = []
    events = 0
    for one in page:
        if run and (one.writer != run[0].writer or events >= _EVENTS):
            yield run
            run, events = [], 0
        run.append(one)
        events += one.events
    if run:
        yield run


def _by_batch(found: Sequence[StoredEvent]) -> dict[int, list[StoredEvent]]:
    return {number: list(group) for number, group in groupby(found, key=lambda one: one.batch)}


def _events(report: Report, where: str, one: Batch, held: list[StoredEvent], scan: _Scan) -> None:
    report.events += len(held)
    scan.missing += one.events - len(held)
    if not held and one.place:
        scan.absent.append((where, one))
        return
    bodies = [stored.event.body for stored in held]
    if len(held) == one.events and all(type(body) is bytes for body in bodies) and chain.holds(one, bodies):
        for wrong in _columns(held, scan):
            report.found(where, wrong)
        return
    if len(held) != one.events:
        report.found(where, _TOO_FEW.format(len(held), one.events))
    else:
        report.found(where, "an event is not what was written, or events are in another order")


_TOO_FEW: Final = "{} events are there, and {} were written"


def _absent(report: Report, scan: _Scan, pruned: Pruned | None) -> None:
    """Batches without events: pruned, or somebody took them."""
    for where, one in scan.absent:
        if pruned is not None and one.place <= pruned.until:
            report.pruned += 1
        else:
            report.found(where, _TOO_FEW.format(0, one.events))


async def _erased(store: Store, report: Report, scan: _Scan, pruned: Pruned | None) -> None:
    """Events that name nobody any more: erased, as other events tell, or somebody took that.

    Of those that the retention may take at any time, what tells of them may be gone already.
    """
    report.erased = len(scan.erased)
    if not scan.erased:
        return
    before = pruned.before * 1000 if pruned else 0
    count = sum(one >= before for one in scan.erased)
    told = 0
    async for body in _bodies(store, "audit.redacted"):
        told += _excuse(body).count
    if count > told:
        report.found("events", f"of {count}, whom they name is gone, and events tell of {told} where it was erased")


def _columns(held: list[StoredEvent], scan: _Scan) -> Iterator[str]:
    """What beside the body of an event is not what the body says."""
    for at, stored in enumerate(held):
        event = stored.event
        try:
            said = _told(event.body)
        except msgspec.DecodeError:
            yield f"event {stored.sequence} is none: it cannot be read"
            continue
        if (said.issuer, said.kind, said.time, said.client_id) != (
            event.issuer,
            event.kind,
            event.time_ms,
            event.client_id,
        ):
            yield f"event {stored.sequence} is filed as something else than it is"
        if event.personal:
            opened = _opened(event.personal, said.personal)
            if opened is None:
                yield f"what lies beside event {stored.sequence} does not open what it commits to"
            elif opened < len(said.personal):
                scan.erased.append(said.time)
        elif said.personal:
            scan.erased.append(said.time)
        if stored.position != at:
            yield f"event {stored.sequence} is filed at another place of its batch"
        if stored.sequence <= scan.sequence:
            # What comes before the first number is listed by nothing.
            yield f"event {stored.sequence} is filed before event {scan.sequence}, which came first"
        scan.sequence = stored.sequence


def _opened(personal: bytes, committed: Mapping[str, str]) -> int | None:
    """How many commitments of an event are opened; None where something is, to which it does not commit.

    A plain loop: it runs for every event that names somebody.
    """
    count = 0
    try:
        for name, (salt, value) in _disclosed(personal).items():
            if not events.discloses(committed.get(name, ""), bytes.fromhex(salt), name, value):
                return None
            count += 1
    except (msgspec.DecodeError, ValueError, TypeError):
        return None
    return count


def _log(report: Report, scan: _Scan, wanted: Sequence[tuple[str, Signed]]) -> list[bytes]:
    """The entries of the log in their order, up to the first gap, as far as checkpoints reach that were there before."""
    found: list[bytes] = []
    reach = max((one.checkpoint.size for _, one in wanted), default=0)
    for place in range(1, min(reach, max(scan.entries, default=0)) + 1):
        if place not in scan.entries:
            report.found("log", f"place {place} is empty")
            break
        found.append(scan.entries[place])
    return found


async def _wanted(registry: Registry, report: Report, kept: Sequence[Signed]) -> list[tuple[str, Signed]]:
    """Each checkpoint, stored and kept, in the order of their sizes."""
    wanted: list[tuple[str, Signed]] = [("checkpoint kept elsewhere", one) for one in kept]
    async for place, one in checkpoints.every(registry):
        if one is None:
            report.found(f"checkpoint {place}", "it is none, or of another size")
        else:
            wanted.append(("checkpoint", one))
    if (witnessed := await checkpoints.witnessed(registry)) is not None:
        wanted.append(("the witnessed checkpoint", witnessed))
    try:
        latest = await checkpoints.latest(registry)
    except Tampered:
        latest = None  # told at the end
    if latest is not None:
        wanted.append(("the last checkpoint", latest))
    return sorted(wanted, key=lambda pair: pair[1].checkpoint.size)


def _checkpoints(
    report: Report, entries: list[bytes], wanted: Sequence[tuple[str, Signed]], trusted: Sequence[JWK]
) -> list[Node]:
    """Each checkpoint against the log as it is; the nodes of the log's tree."""
    growing, at, log = merkle.Growing(), 0, ""
    for name, one in wanted:
        said = one.checkpoint
        where = f"{name} of {said.size} batches"
        report.checkpoints += 1
        log = log or said.log
        if said.log != log:
            report.found(where, "it is of another log: this one was begun anew")
        if not checkpoint.signers(one, trusted):
            report.found(where, "no key of the audit has signed it")
        if said.unchained not in (None, report.unchained):
            report.found(
                where,
                f"{said.unchained} events were from before there were chains, and {report.unchained} are said to be",
            )
        if said.size > len(entries):
            report.found(where, f"the log has {len(entries)} batches alone: its end is missing")
            continue
        for entry in entries[at : said.size]:
            growing.append(entry)
        at = said.size
        if checkpoint.text(growing.root) != said.root:
            report.found(where, "the log does not have this root: a batch in it is another, or elsewhere")
    return growing.nodes


async def _nodes(store: Store, report: Report, made: Sequence[Node]) -> None:
    """What proofs are made from: a node that is another proves nothing false, and leaves true things unproved."""
    roots = {(one.height, one.place): one.root for one in made}
    async for one, root in tree.stored(store):
        if roots.get((one.height, one.place), root) != root:
            report.found("log", f"node {one.place} of height {one.height}, which proofs are made from, is another")


async def _beyond(registry: Registry, report: Report, scan: _Scan) -> None:
    """A batch gets its place together with the checkpoint that covers it: none has one beyond the last.

    And what the next checkpoint is made from has to be what the last one was made of.
    """
    try:
        head = await checkpoints.head(registry)
    except Tampered as problem:
        report.found("log", str(problem))
        return
    if wrong := head.wrong:
        report.found("log", f"its head was changed: {wrong}")
    elif head.signed is None and scan.entries:
        report.found("log", "batches have places in it, and there is no checkpoint")
    elif head.signed is not None and max(scan.entries, default=0) > head.size:
        report.found("log", f"batches have places after the {head.size} that the last checkpoint covers")


async def _pruned(store: Store, trusted: Sequence[JWK], logs: set[str]) -> Pruned | None:
    """How far the retention has taken events away, by what a key of the audit has signed."""
    found: list[Pruned] = []
    async for body in _bodies(store, "audit.pruned"):
        try:
            read = jws.read(_excuse(body).signed)
            if read.header.get("typ") == retention.PRUNED:
                found.append(msgspec.convert(jws.verify(read, trusted, checkpoint.ALGORITHMS).claims, Pruned))
        except (Malformed, Refused, msgspec.ValidationError):
            continue
    return max((one for one in found if one.log in logs), key=lambda one: one.until, default=None)


async def _bodies(store: Store, kind: str) -> AsyncIterator[bytes]:
    """The events of a kind."""
    after = 0
    while page := await store.events(EventQuery(kind=kind), after=after):
        after = page[-1].sequence
        for one in page:
            try:
                _excuse(one.event.body)
            except (msgspec.DecodeError, TypeError):
                continue  # it was told where its batch was read
            yield one.event.body


def key_set(body: bytes) -> list[dict[str, Any]]:
    """A key set that was kept in a file.

    Raises:
        Malformed: it is none.
    """
    try:
        return msgspec.json.decode(body, type=_KeySet).keys
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Malformed(f"it is no key set ({problem})") from None


class _KeySet(msgspec.Struct):
    """RFC 7517 §5; it may stand in a document beside other members, as it is published."""

    keys: list[dict[str, Any]]
