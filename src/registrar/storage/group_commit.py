"""Group commit: writers that arrive together share one durable commit, and each is answered only after it.

Two buffers: while one batch is being made durable on a thread, the next gathers. The loop executes the statements,
which is quick; it never waits for the disk. Whatever goes wrong reaches every waiter, and no waiter is ever told that
something is stored before the commit has returned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from registrar.service.ports import StoreError, StoreUnavailable

Operation = Callable[[], None]
"""The statements of one write. It raises a StoreError only in a state in which it has changed nothing."""

_Waiter = tuple[Operation, asyncio.Future[None]]

BATCH: Final = 256
"""Operations of one commit at the most: a longer batch would hold the loop for too long."""


class Engine(Protocol):
    """A database that makes batches durable."""

    def try_begin(self) -> bool:
        """Begin a batch without waiting; False when another process is writing."""
        ...

    def begin(self) -> None:
        """Begin a batch, waiting for its turn (on the thread)."""
        ...

    def commit(self) -> None:
        """Make the batch durable (on the thread)."""
        ...

    def rollback(self) -> None:
        """Forget the batch; called after every failure, whatever state the database is in."""
        ...


class GroupCommit:
    """The one writer of an engine.

    Args:
        engine: the database.
        limit: operations that may wait; beyond that, writers are told to come back.
    """

    def __init__(self, engine: Engine, limit: int) -> None:
        self._engine, self._limit = engine, limit
        self._waiting: deque[_Waiter] = deque()
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._closed = False

    async def write(self, operation: Operation) -> None:
        """Run an operation in a batch; when this returns, it is durable.

        Raises:
            StoreError: what the operation raised.
            StoreUnavailable: the batch could not be made durable, or too many are waiting.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._waiting) >= self._limit:
            raise StoreUnavailable("too many writes are waiting", overloaded=True)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.append((operation, done))
        if self._running is None:
            self._running = loop.create_task(self._run())
        await done

    async def close(self) -> None:
        """Make durable what waits, and stop; a second time does nothing."""
        self._closed = True
        if self._running is not None:
            await asyncio.shield(self._running)  # whoever loses patience with closing must not break off a commit
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                try:
                    await self._write_batch(batch)
                except BaseException as problem:
                    # Nobody may be left waiting, not even when this task is being cancelled.
                    _fail(batch, problem)
                    if not isinstance(problem, Exception):
                        _fail(self._waiting, problem)
                        raise
        finally:
            self._running = None

    async def _write_batch(self, batch: list[_Waiter]) -> None:
        try:
            outcomes = await self._attempt(batch)
        except _UnannouncedError as failure:
            if len(batch) > 1:
                # One operation took the batch with it. Its neighbours must not suffer: each is tried alone.
                for waiter in batch:
                    await self._write_batch([waiter])
                return
            outcomes = [StoreUnavailable(str(failure))]
        _settle(batch, outcomes)

    async def _attempt(self, batch: list[_Waiter]) -> list[StoreError | None]:
        """The outcome of each operation, all of them durable.

        Raises:
            _UnannouncedError: an operation failed; nothing is stored, and the others deserve another attempt.
            Exception: beginning or committing failed; nothing is stored, and trying again at once would fail again.
        """
        loop = asyncio.get_running_loop()
        engine = self._engine
        try:
            if not engine.try_begin():
                await loop.run_in_executor(self._thread, engine.begin)
            outcomes = [_outcome(operation) for operation, _ in batch]
            await loop.run_in_executor(self._thread, engine.commit)
        except Exception:
            engine.rollback()
            raise
        return outcomes


class _UnannouncedError(Exception):
    """An operation raised what is no StoreError: nobody knows what it has written by then."""


def _outcome(operation: Operation) -> StoreError | None:
    try:
        operation()
    except StoreError as refusal:
        return refusal
    except Exception as problem:
        raise _UnannouncedError(_told(problem)) from problem
    return None


def _settle(batch: list[_Waiter], outcomes: list[StoreError | None]) -> None:
    settled: Iterable[tuple[_Waiter, StoreError | None]] = zip(batch, outcomes, strict=True)
    if any(outcomes):
        # Losers of a race are woken before its winners: one that keeps winning must not keep another from ever writing.
        settled = sorted(settled, key=lambda one: one[1] is None)
    for (_, done), outcome in settled:
        if done.done():  # the caller went away; what it asked for is stored all the same
            continue
        if outcome is None:
            done.set_result(None)
        else:
            done.set_exception(outcome)


def _fail(waiters: Iterable[_Waiter], problem: BaseException) -> None:
    for _, done in waiters:
        if not done.done():
            done.set_exception(StoreUnavailable(_told(problem)))


def _told(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"
