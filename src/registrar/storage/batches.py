"""Batches: writers that arrive together share one durable commit, and each is answered only after it.

While one batch is being made durable, the next gathers. Whatever goes wrong reaches every waiter, and no waiter is ever
told that something is stored before the commit has returned. How a batch is made durable is the database's matter.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from registrar.service.metrics import Metrics
from registrar.service.ports import Load, StoreError, StoreUnavailable
from registrar.service.tracing import Tracer

BATCH: Final = 256
"""Operations of one commit at the most: a longer batch would hold the loop for too long."""

Operation = TypeVar("Operation")
Waiter = tuple[Operation, asyncio.Future[None]]
"""An operation and whoever waits for it."""


class Batches(ABC, Generic[Operation]):
    """The one writer of a database.

    Args:
        limit: operations that may wait; beyond that, writers are told to come back.
        metrics: counts commits, where somebody asks for that.
        tracer: times them, where somebody asks for that.
    """

    def __init__(self, limit: int, metrics: Metrics | None = None, tracer: Tracer | None = None) -> None:
        self._limit, self._metrics, self._tracer = limit, metrics, tracer
        self._steps: dict[asyncio.Future[None], Any] = {}
        """Whose write each is, where somebody traces."""
        self._waiting: deque[Waiter[Operation]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, operation: Operation) -> None:
        """Run an operation in a batch; when this returns, it is durable.

        Raises:
            StoreError: what the operation was refused with.
            StoreUnavailable: the batch could not be made durable, or too many are waiting.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._waiting) >= self._limit:
            raise StoreUnavailable("too many writes are waiting", overloaded=True)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.append((operation, done))
        if self._tracer is not None and (step := self._tracer.here()) is not None:
            self._steps[done] = step
        if self._running is None:
            self._running = loop.create_task(self._run())
        await done

    @property
    def load(self) -> Load:
        """How many wait, and how many may."""
        return Load(len(self._waiting), self._limit)

    async def close(self) -> None:
        """Make durable what waits, and stop; a second time does nothing."""
        self._closed = True
        if self._running is not None:
            await asyncio.shield(self._running)  # whoever loses patience with closing must not break off a commit

    @abstractmethod
    async def _write_batch(self, batch: list[Waiter[Operation]]) -> None:
        """Make a batch durable and settle each of its waiters.

        Raises:
            Exception: nothing of it is stored, or nobody knows; the waiters that are not settled hear of it.
        """

    def _next(self) -> list[Waiter[Operation]]:
        """Of those that wait, the operations of the next batch."""
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next()
                began = time.perf_counter()
                try:
                    if self._tracer is None:
                        await self._write_batch(batch)
                    else:
                        steps = [self._steps.pop(done) for _, done in batch if done in self._steps]
                        with self._tracer.batch("commit", steps):
                            await self._write_batch(batch)
                except BaseException as problem:
                    fail(batch, problem)
                    if not isinstance(problem, Exception):
                        raise
                if self._metrics is not None:
                    self._metrics.committed(
                        len(batch), time.perf_counter() - began, durable=any(map(_is_answered, batch))
                    )
                if self._waiting:
                    await asyncio.sleep(0)  # those that were just answered may write again, and share the next commit
        except BaseException as problem:
            # Nobody may be left waiting, not even when this task is being cancelled.
            fail(self._waiting, problem)
            raise
        finally:
            self._running = None
            self._steps.clear()


def settle(batch: list[Waiter[Operation]], outcomes: Sequence[StoreError | None]) -> None:
    """Answer the waiters of a batch that is durable: None is stored, an error is a refusal that left nothing behind."""
    settled: Iterable[tuple[Waiter[Operation], StoreError | None]] = zip(batch, outcomes, strict=True)
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


def _is_answered(waiter: Waiter[Operation]) -> bool:
    """Whether a waiter was told what became of its operation, be it that it was refused."""
    done = waiter[1]
    return done.done() and not done.cancelled() and not isinstance(done.exception(), StoreUnavailable)


def fail(waiters: Iterable[Waiter[Operation]], problem: BaseException) -> None:
    """Tell every waiter that is not answered yet that nothing can be said of its operation."""
    for _, done in waiters:
        if not done.done():
            done.set_exception(StoreUnavailable(told(problem)))


def told(problem: BaseException) -> str:
    """A problem in one line, for the log."""
    return str(problem) if isinstance(problem, StoreUnavailable) else f"{type(problem).__name__}: {problem}"
