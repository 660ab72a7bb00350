"""Group commit: writers that arrive together share one durable commit, and each is answered only after it.

Two buffers: while one batch is being made durable on a thread, the next gathers. The loop executes the statements,
which is quick; it never waits for the disk. Whatever goes wrong reaches every waiter, and no waiter is ever told that
something is stored before the commit has returned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from registrar.service.ports import StoreError, StoreUnavailable

Operation = Callable[[], None]
"""The statements of one write. It raises a StoreError only in a state in which it has changed nothing."""

BATCH: Final = 256
"""Operations of one commit at the most: a longer batch would hold the loop for too long."""


class Engine(Protocol):
    """A database that makes batches durable."""

    def try_begin(self) -> bool:
        """Begin a batch without waiting; False when another process is writing."""
        ...

    def begin(self) -> None:
        """Begin a batch, waiting as long as it takes (on the thread)."""
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
        self._waiting: deque[tuple[Operation, asyncio.Future[None]]] = deque()
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
        """Make durable what waits, and stop."""
        self._closed = True
        if self._running is not None:
            await self._running
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

    async def _write_batch(self, batch: list[tuple[Operation, asyncio.Future[None]]]) -> None:
        outcomes = await self._attempt(batch)
        if outcomes is None:
            # One operation failed in a way it had not announced, and took the batch with it. Its neighbours must not
            # suffer: each is tried alone.
            for one in batch:
                alone = await self._attempt([one])
                _settle([one], alone if alone is not None else [StoreUnavailable("the write failed; see the log")])
            return
        _settle(batch, outcomes)

    async def _attempt(self, batch: list[tuple[Operation, asyncio.Future[None]]]) -> list[StoreError | None] | None:
        """The outcome of each operation, all of them durable; None when the batch must be tried one by one."""
        loop = asyncio.get_running_loop()
        outcomes: list[StoreError | None] = []
        engine = self._engine
        try:
            if not engine.try_begin():
                await loop.run_in_executor(self._thread, engine.begin)
            for operation, _ in batch:
                try:
                    operation()
                except StoreUnavailable:
                    raise
                except StoreError as refusal:
                    outcomes.append(refusal)
                else:
                    outcomes.append(None)
            await loop.run_in_executor(self._thread, engine.commit)
        except StoreUnavailable:
            engine.rollback()
            raise
        except Exception as problem:
            engine.rollback()
            if len(batch) == 1:
                raise StoreUnavailable(f"{type(problem).__name__}: {problem}") from problem
            return None
        return outcomes


def _settle(batch: list[tuple[Operation, asyncio.Future[None]]], outcomes: list[StoreError | None]) -> None:
    for (_, done), outcome in zip(batch, outcomes, strict=True):
        if done.done():  # the caller went away; what it asked for is stored all the same
            continue
        if outcome is None:
            done.set_result(None)
        else:
            done.set_exception(outcome)


def _fail(
    batch: list[tuple[Operation, asyncio.Future[None]]] | deque[tuple[Operation, asyncio.Future[None]]],
    problem: BaseException,
) -> None:
    for _, done in batch:
        if not done.done():
            reason = (
                problem if isinstance(problem, StoreError) else StoreUnavailable(f"{type(problem).__name__}: {problem}")
            )
            done.set_exception(reason)
