"""The committer alone, over an engine that can be told to wait and to fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from registrar.service.ports import Conflict, StoreError, StoreUnavailable
from registrar.storage.group_commit import BATCH, GroupCommit, Long

pytestmark = pytest.mark.anyio


class Ledger:
    """An engine that keeps lines in a list; what is not committed is not in it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.pending: list[str] = []
        self.begins = 0
        self.free = True
        self.disk = threading.Event()
        self.disk.set()
        self.trouble: Exception | None = None
        self.trouble_at_begin: Exception | None = None
        self.trouble_at_rollback: Exception | None = None
        self.committing = threading.Event()

    def try_begin(self) -> bool:
        """Begin, unless another process has the ledger."""
        assert self.pending == []
        if self.free:
            self.begins += 1
        return self.free

    def begin(self) -> None:
        """Begin once the ledger is free."""
        self.begins += 1
        if self.trouble_at_begin:
            raise self.trouble_at_begin

    def commit(self) -> None:
        """Wait for the disk, then keep the lines."""
        self.committing.set()
        assert self.disk.wait(30)
        if self.trouble:
            raise self.trouble
        if self.pending:
            self.batches.append(self.pending)
        self.pending = []

    def rollback(self) -> None:
        """Forget the lines."""
        self.pending = []
        if self.trouble_at_rollback:
            raise self.trouble_at_rollback

    def line(self, text: str, problem: Exception | None = None) -> Callable[[], None]:
        """An operation that writes a line, or fails: with a StoreError before writing, with anything else after."""

        def write() -> None:
            if isinstance(problem, StoreError):
                raise problem
            self.pending.append(text)
            if problem is not None:
                raise problem

        return write

    @property
    def lines(self) -> list[str]:
        """Everything that is durable."""
        return [line for batch in self.batches for line in batch]


@pytest.fixture
def ledger() -> Ledger:
    """An empty ledger."""
    return Ledger()


@pytest.fixture
async def commits(ledger: Ledger) -> AsyncIterator[GroupCommit]:
    """Its committer."""
    committer = GroupCommit(ledger, 1000)
    yield committer
    ledger.disk.set()
    await committer.close()


async def under_way(ledger: Ledger) -> None:
    """Return when a commit waits for the disk."""
    assert await asyncio.to_thread(ledger.committing.wait, 30)


async def gather(writes: list[asyncio.Task[None]]) -> list[BaseException | None]:
    """What became of each write."""
    return list(await asyncio.gather(*writes, return_exceptions=True))


def submit(commits: GroupCommit, *operations: Callable[[], None]) -> list[asyncio.Task[None]]:
    """Start writes at the same time."""
    return [asyncio.create_task(commits.write(operation)) for operation in operations]


async def test_whoever_is_answered_shares_the_next_commit(ledger: Ledger, commits: GroupCommit) -> None:
    """What waits goes together with what those write next that were just answered: nobody's round is a commit of its own."""

    async def twice() -> None:
        await commits.write(ledger.line("a"))
        await commits.write(ledger.line("a"))

    ledger.disk.clear()
    first = [asyncio.create_task(twice()) for _ in range(3)]
    await under_way(ledger)
    second = submit(commits, ledger.line("b"))
    await asyncio.sleep(0)
    ledger.disk.set()
    await asyncio.gather(*first, *second)
    assert [sorted(batch) for batch in ledger.batches] == [["a"] * 3, [*["a"] * 3, "b"]]


async def test_writes_that_arrive_together_share_a_commit(ledger: Ledger, commits: GroupCommit) -> None:
    """Concurrent writes are one batch in the order of arrival, and long queues are cut into batches."""
    names = [str(number) for number in range(2 * BATCH + 1)]
    assert await gather(submit(commits, *map(ledger.line, names))) == [None] * len(names)
    assert [len(batch) for batch in ledger.batches] == [BATCH, BATCH, 1]
    assert ledger.lines == names


async def test_the_next_batch_gathers_while_one_is_made_durable(ledger: Ledger, commits: GroupCommit) -> None:
    """The loop goes on while the disk is busy, nobody is answered before his commit, and the second batch is one."""
    ledger.disk.clear()
    first = submit(commits, ledger.line("a"))
    await under_way(ledger)
    second = submit(commits, ledger.line("b"), ledger.line("c"))
    await asyncio.sleep(0)
    assert not any(task.done() for task in (*first, *second))
    assert ledger.lines == []
    ledger.disk.set()
    await gather([*first, *second])
    assert ledger.batches == [["a"], ["b", "c"]]


async def test_a_full_queue_refuses_at_once(ledger: Ledger) -> None:
    """Beyond its limit the queue takes nothing more and says that it is overloaded; what it took, it keeps."""
    commits = GroupCommit(ledger, 3)
    outcomes = await gather(submit(commits, *(ledger.line(str(number)) for number in range(8))))
    assert outcomes[:3] == [None] * 3
    assert [(type(one), getattr(one, "overloaded", None)) for one in outcomes[3:]] == [(StoreUnavailable, True)] * 5
    assert ledger.lines == ["0", "1", "2"]
    await commits.write(ledger.line("later"))
    assert ledger.lines == ["0", "1", "2", "later"]
    await commits.close()


async def test_a_failed_commit_reaches_every_waiter(ledger: Ledger, commits: GroupCommit) -> None:
    """When COMMIT fails, all of the batch hear StoreUnavailable, nothing is tried again, and the next write works."""
    ledger.trouble = OSError("the disk is gone")
    operations = [ledger.line("a"), ledger.line("b"), ledger.line("c", Conflict("c"))]
    outcomes = await gather(submit(commits, *operations))
    assert [type(one) for one in outcomes] == [StoreUnavailable] * 3
    assert str(outcomes[0]) == "OSError: the disk is gone"
    assert not any(one.overloaded for one in outcomes if isinstance(one, StoreUnavailable))
    assert ledger.begins == 1
    ledger.trouble = None
    await commits.write(ledger.line("later"))
    assert ledger.lines == ["later"]


async def test_a_database_that_cannot_begin_is_asked_once(ledger: Ledger, commits: GroupCommit) -> None:
    """A batch that cannot begin fails as a whole: to wait again for each of its writes would take for ever."""
    ledger.free, ledger.trouble_at_begin = False, OSError("busy for too long")
    outcomes = await gather(submit(commits, *(ledger.line(str(number)) for number in range(20))))
    assert [type(one) for one in outcomes] == [StoreUnavailable] * 20
    assert ledger.begins == 1
    ledger.free = True
    await commits.write(ledger.line("later"))
    assert ledger.lines == ["later"]


async def test_even_a_failing_rollback_leaves_nobody_waiting(ledger: Ledger, commits: GroupCommit) -> None:
    """A database that can neither commit nor roll back still answers everybody."""
    ledger.trouble, ledger.trouble_at_rollback = OSError("no commit"), OSError("no rollback")
    outcomes = await gather(submit(commits, ledger.line("a"), ledger.line("b")))
    assert [type(one) for one in outcomes] == [StoreUnavailable] * 2
    ledger.trouble = ledger.trouble_at_rollback = None
    await commits.write(ledger.line("later"))
    assert ledger.lines == ["later"]


async def test_a_refusal_is_its_writers_alone(ledger: Ledger, commits: GroupCommit) -> None:
    """A StoreError goes to the one who caused it; the others share the commit."""
    outcomes = await gather(submit(commits, ledger.line("a"), ledger.line("b", Conflict("b")), ledger.line("c")))
    assert [type(one) for one in outcomes] == [type(None), Conflict, type(None)]
    assert ledger.batches == [["a", "c"]]


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_an_unannounced_failure_is_its_writers_alone(ledger: Ledger, commits: GroupCommit, at: int) -> None:
    """An operation that breaks half-way takes the batch back; its neighbours, before and after it, are stored alone."""
    operations = [ledger.line("a"), ledger.line("b")]
    operations.insert(at, ledger.line("broken", ValueError("no such thing")))
    outcomes = await gather(submit(commits, *operations))
    assert [type(one) for one in outcomes] == [StoreUnavailable if place == at else type(None) for place in range(3)]
    assert str(outcomes[at]) == "ValueError: no such thing"
    assert ledger.lines == ["a", "b"]


async def test_what_takes_its_time_is_done_beside_the_loop(ledger: Ledger, commits: GroupCommit) -> None:
    """The loop goes on meanwhile, and the operations keep their order."""
    began, going = threading.Event(), threading.Event()

    def slowly() -> None:
        began.set()
        assert going.wait(30)
        ledger.pending.append("slow")

    writes = submit(commits, ledger.line("first"), Long(slowly), ledger.line("last"))
    await asyncio.to_thread(began.wait, 30)
    assert ledger.lines == []
    going.set()
    assert await gather(writes) == [None] * 3
    assert ledger.batches == [["first", "slow", "last"]]


@pytest.mark.parametrize("problem", [Conflict("taken"), RuntimeError("broken")])
async def test_what_fails_beside_the_loop_is_its_writers_alone(
    ledger: Ledger, commits: GroupCommit, problem: Exception
) -> None:
    """As everywhere: refused, or failed in a way that nobody had announced."""
    writes = submit(commits, ledger.line("a"), Long(ledger.line("b", problem)), ledger.line("c"))
    first, second, third = await gather(writes)
    assert (first, third) == (None, None)
    assert isinstance(second, StoreError)
    assert ledger.lines == ["a", "c"]


async def test_a_caller_that_goes_away_takes_nobody_along(ledger: Ledger, commits: GroupCommit) -> None:
    """Cancelled while waiting or while committing, a caller is gone; his write and all others are made."""
    ledger.disk.clear()
    first = submit(commits, ledger.line("a"), ledger.line("b"))
    await under_way(ledger)
    second = submit(commits, ledger.line("c"), ledger.line("d"))
    await asyncio.sleep(0)
    first[0].cancel()
    second[0].cancel()
    ledger.disk.set()
    outcomes = await gather([*first, *second])
    assert [type(one) for one in outcomes] == [asyncio.CancelledError, type(None)] * 2
    assert ledger.lines == ["a", "b", "c", "d"]


async def test_closing_finishes_what_was_submitted(ledger: Ledger) -> None:
    """What was submitted before close is stored and answered; what comes after is refused; closing twice is closing."""
    commits = GroupCommit(ledger, 1000)
    ledger.disk.clear()
    first = submit(commits, ledger.line("a"))
    await under_way(ledger)
    second = submit(commits, ledger.line("b"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(commits.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await commits.write(ledger.line("late"))
    ledger.disk.set()
    await closing
    assert await gather([*first, *second]) == [None, None]
    assert ledger.lines == ["a", "b"]
    await commits.close()


async def test_impatience_with_closing_breaks_nothing_off(ledger: Ledger) -> None:
    """When close is cancelled, the commit that is under way still ends as it would have, and answers."""
    commits = GroupCommit(ledger, 1000)
    ledger.disk.clear()
    writes = submit(commits, ledger.line("a"))
    await under_way(ledger)
    closing = asyncio.create_task(commits.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    ledger.disk.set()
    assert await gather(writes) == [None]
    assert ledger.lines == ["a"]
    await commits.close()


async def test_nobody_waits_for_a_committer_that_was_ended(ledger: Ledger) -> None:
    """When the loop is torn down around it, the committer tells everybody that nothing is certain."""
    commits = GroupCommit(ledger, 1000)
    ledger.disk.clear()
    first = submit(commits, ledger.line("a"))
    await under_way(ledger)
    second = submit(commits, ledger.line("b"))
    await asyncio.sleep(0)
    assert commits._running is not None
    commits._running.cancel()
    outcomes = await gather([*first, *second])
    assert [type(one) for one in outcomes] == [StoreUnavailable] * 2
    ledger.disk.set()
    await commits.close()
