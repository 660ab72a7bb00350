"""Every store of the product under the public suite, and the suite itself under stores that are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest

from registrar.domain.client import Client
from registrar.domain.events import Event
from registrar.service.ports import Conflict, EventQuery, Spend, Store, StoredEvent, TokenSpent
from registrar.storage.memory import MemoryStore
from registrar.storage.postgres import PostgresStore
from registrar.storage.sqlite import SQLiteStore
from registrar.testing.store_conformance import StoreConformance, StoreParallel, a_client, a_token, an_event, an_item

pytest_plugins = ["pytester"]


class TestMemoryStore(StoreConformance):
    """The reference."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        """A store that forgets."""
        store = MemoryStore()
        yield store
        await store.close()


class TestSQLiteStore(StoreConformance):
    """One file."""

    @pytest.fixture
    def store(self, sqlite: SQLiteStore) -> Store:
        """A store in a folder of its own."""
        return sqlite


class TestPostgresStore(StoreConformance):
    """A database of a real server."""

    @pytest.fixture
    async def store(self, database: str) -> AsyncIterator[Store]:
        """A store on a database of its own."""
        store = PostgresStore(database)
        yield store
        await store.close()


@pytest.mark.parametrize(
    "record",
    [a_client(), a_client().admission, a_token(uses=1, revoked_at=1), an_event(), an_item()],
    ids=lambda one: type(one).__name__,
)
def test_the_example_records_leave_no_field_at_its_default(record: msgspec.Struct) -> None:
    """A round trip proves something about a field only if the field has another value than an omitted one."""
    of_instances = {
        "template",
        "own",
        "suspended_by_template",
        "ended_by_template",
    }  # the suite has tests of its own for these
    for field in msgspec.structs.fields(record):
        if field.name in of_instances:
            continue
        empty = field.default if field.default is not msgspec.NODEFAULT else None
        assert getattr(record, field.name) not in (empty, "", b"", {}, ()), field.name


# --- stores that are wrong --------------------------------------------------------------------------------------------


class ForgetsTheEvent(MemoryStore):
    """Stores a client without its event."""

    async def create(self, client: Client, event: Event, spend: Spend | None = None) -> None:
        """Lose the event."""
        await super().create(client, event, spend)
        self._events.pop()


class ClaimsBeforeItLooks(MemoryStore):
    """Claims the use of a token before it knows whether the identifier is free."""

    async def create(self, client: Client, event: Event, spend: Spend | None = None) -> None:
        """Claim, then fail."""
        if spend is not None:
            self._claim(client.issuer, spend)
        await super().create(client, event)


class TellsOfWhatFailed(MemoryStore):
    """Stores the event of a creation that it refuses."""

    async def create(self, client: Client, event: Event, spend: Spend | None = None) -> None:
        """Tell first."""
        try:
            await super().create(client, event, spend)
        except (Conflict, TokenSpent):
            self._append(event)
            raise


class IgnoresTheVersion(MemoryStore):
    """Lets the last writer win."""

    async def update(self, client: Client, events: Sequence[Event], *, expected: int) -> None:
        """Whatever was expected, overwrite."""
        await asyncio.sleep(0)
        stored = await self.find(client.issuer, client.client_id)
        await super().update(client, events, expected=stored.version if stored else expected)


class ReadsThenWrites(MemoryStore):
    """Counts the uses of a token in two steps, between which another caller comes."""

    async def create(self, client: Client, event: Event, spend: Spend | None = None) -> None:
        """Look, wait, write down what was seen."""
        if spend is None:
            return await super().create(client, event)
        token = await self.find_token(client.issuer, spend.digest)
        if token is None or token.status(spend.now) != "active":
            raise TokenSpent
        await asyncio.sleep(0)
        self._tokens[token.issuer, token.token_id] = msgspec.structs.replace(token, uses=token.uses + 1)
        return await super().create(client, event)


class ReachesAcross(MemoryStore):
    """Finds a client at whichever issuer has it."""

    async def find(self, issuer: str, client_id: str) -> Client | None:
        """Forget to ask whose it is."""
        return await super().find(next((key[0] for key in self._clients if key[1] == client_id), issuer), client_id)


class GivesItsOwn(MemoryStore):
    """Hands out the object that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[tuple[str, str], Client] = {}

    async def find(self, issuer: str, client_id: str) -> Client | None:
        """Decode once, and share."""
        found = await super().find(issuer, client_id)
        return self._kept.setdefault((issuer, client_id), found) if found else None


class LeavesGaps(MemoryStore):
    """Counts a batch for every write, the refused ones too."""

    refused = 0

    async def create(self, client: Client, event: Event, spend: Spend | None = None) -> None:
        """Count what was refused."""
        try:
            await super().create(client, event, spend)
        except Conflict:
            self.refused += 1
            raise

    def _append(self, *events: Event) -> None:
        super()._append(*events)
        for at in range(len(self._events) - len(events), len(self._events)):
            one = self._events[at]
            self._events[at] = StoredEvent(one.sequence, one.writer, one.batch + self.refused, one.position, one.event)


class ReadsAhead(MemoryStore):
    """Pages through events by their number on the page rather than by their sequence."""

    async def events(self, query: EventQuery, *, after: int = 0, limit: int = 100) -> Sequence[StoredEvent]:
        """Skip one too many."""
        return await super().events(query, after=after + 1 if after else 0, limit=limit)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (ForgetsTheEvent, StoreConformance.test_every_write_stores_its_event),
        (ClaimsBeforeItLooks, StoreConformance.test_a_create_that_conflicts_claims_no_use),
        (ClaimsBeforeItLooks, StoreConformance.test_of_concurrent_creations_one_wins),
        (TellsOfWhatFailed, StoreConformance.test_an_identifier_is_taken_once),
        (TellsOfWhatFailed, StoreConformance.test_a_token_registers_as_often_as_it_has_uses),
        (IgnoresTheVersion, StoreConformance.test_of_two_nested_updates_one_wins),
        (IgnoresTheVersion, StoreConformance.test_updates_form_one_line_of_versions),
        (IgnoresTheVersion, StoreConformance.test_of_concurrent_updates_one_wins),
        (ReadsThenWrites, StoreConformance.test_a_token_registers_as_often_as_it_has_uses),
        (ReachesAcross, StoreConformance.test_issuers_do_not_reach_across),
        (GivesItsOwn, StoreConformance.test_records_are_the_callers_own),
        (LeavesGaps, StoreConformance.test_events_have_an_order_without_gaps),
        (ReadsAhead, StoreConformance.test_events_are_paged_in_the_order_of_storing),
    ],
)
async def test_a_wrong_store_fails(wrong: type[MemoryStore], test: Callable[[StoreConformance, Store], object]) -> None:
    """The suite finds each of these mistakes, so it would find them in a store that a user brings."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await test(StoreConformance(), wrong())  # type: ignore[misc]  # only called


# --- exemptions -------------------------------------------------------------------------------------------------------

MODULE = """
import pytest
from registrar.storage.memory import MemoryStore
from registrar.testing.store_conformance import StoreConformance

class TestMine(StoreConformance):
    exempt = {exempt}

    @pytest.fixture
    async def store(self):
        return MemoryStore()
"""


def test_an_exemption_is_reported_with_its_reason(pytester: pytest.Pytester) -> None:
    """A tier or a test is left out under its reason, which is reported beside it; the others run."""
    exempt = {
        "StoreParallel": "one writer at a time",
        "test_a_key_is_made_once_for_each_algorithm_and_generation": "has no keys",
    }
    pytester.makepyfile(MODULE.replace("{exempt}", repr(exempt)))
    result = pytester.runpytest("-p", "no:cacheprovider", "-rs")
    outcomes = result.parseoutcomes()
    parallel = [name for name in vars(StoreParallel) if name.startswith("test_")]
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["skipped"] == len(parallel) + 1
    result.stdout.fnmatch_lines_random(["*one writer at a time*", "*has no keys*"])


@pytest.mark.parametrize(
    ("exempt", "complaint"),
    [
        ({"StoreParallel": " "}, "*the exemption of StoreParallel states no reason*"),
        ({"StoreSerial": "it is slow"}, "*exempt names StoreSerial, which is neither a tier nor a test*"),
    ],
)
def test_an_exemption_needs_a_reason_and_a_name(
    pytester: pytest.Pytester, exempt: dict[str, str], complaint: str
) -> None:
    """Without a reason, or under a name that is no tier and no test, nothing is left out: the test fails."""
    pytester.makepyfile(MODULE.replace("{exempt}", repr(exempt)))
    result = pytester.runpytest("-p", "no:cacheprovider", "-k", "test_absent_is_not_empty")
    assert result.parseoutcomes().keys() == {"errors", "deselected"}
    result.stdout.fnmatch_lines_random([complaint])
