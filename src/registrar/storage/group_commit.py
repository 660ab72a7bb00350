"""Group commit for an engine whose statements run on the loop: INSERTs there, the COMMIT on a thread.

The loop executes the statements, which is quick; it never waits for the disk. While one batch is being made durable on
the thread, the next gathers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from registrar.service.metrics import Metrics
from registrar.service.ports import StoreError, StoreUnavailable
from registrar.service.tracing import Tracer
from registrar.storage.batches import BATCH, Batches, Waiter, settle, told

__all__ = ["BATCH", "Engine", "GroupCommit", "Long", "Operation"]

Operation = Callable[[], None]
"""The statements of one write. It raises a StoreError only in a state in which it has changed nothing."""


@dataclass(frozen=True, slots=True)
class Long:
    """An operation that takes its time, and so is done on the thread: what is written waits for it, and nobody else."""

    operation: Operation

    def __call__(self) -> None:
        """Run it."""
        self.operation()


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


class GroupCommit(Batches[Operation]):
    """The one writer of an engine.

    Args:
        engine: the database.
        limit: operations that may wait; beyond that, writers are told to come back.
        metrics: counts commits, where somebody asks for that.
        tracer: times them, where somebody asks for that.
    """

    def __init__(
        self, engine: Engine, limit: int, metrics: Metrics | None = None, tracer: Tracer | None = None
    ) -> None:
        super().__init__(limit, metrics, tracer)
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")

    async def close(self) -> None:
        """Make durable what waits, and stop; a second time does nothing."""
        await super().close()
        self._thread.shutdown()

    async def _write_batch(self, batch: list[Waiter[Operation]]) -> None:
        try:
            outcomes = await self._attempt(batch)
        except _UnannouncedError as failure:
            if len(batch) > 1:
                # One operation took the batch with it. Its neighbours must not suffer: each is tried alone.
                for waiter in batch:
                    await self._write_batch([waiter])
                return
            outcomes = [StoreUnavailable(str(failure))]
        settle(batch, outcomes)

    async def _attempt(self, batch: list[Waiter[Operation]]) -> list[StoreError | None]:
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
            outcomes = [
                await loop.run_in_executor(self._thread, _outcome, one) if type(one) is Long else _outcome(one)
                for one, _ in batch
            ]
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
        raise _UnannouncedError(told(problem)) from problem
    return None
