"""Tracing: where the time of a request goes, step by step, told to whoever is configured. Without anyone, nothing is done."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Tracer(Protocol):
    """What times steps, each within the one that it is a part of."""

    async def within(self, name: str, step: Awaitable[Result], **attributes: str | int) -> Result:
        """Do a step, and time it.

        Args:
            name: what it is called, one of few.
            step: the step.
            attributes: what is told of it; nothing personal and no secret.
        """
        ...

    def here(self) -> Any:
        """The step that is under way, for a batch to be linked with; None where there is none."""
        ...

    def batch(self, name: str, steps: Sequence[Any]) -> AbstractContextManager[object]:
        """Time what is done for several steps at once, and is a part of none of them.

        Args:
            name: what it is called.
            steps: what `here` gave.
        """
        ...

    def close(self) -> None:
        """Tell what has not been told; this may take seconds, and nothing is timed after it."""
        ...


def within(tracer: Tracer | None, name: str, step: Awaitable[Result]) -> Awaitable[Result]:
    """A step, timed where somebody traces; without anyone it is the step itself, and costs no more than it."""
    return step if tracer is None else tracer.within(name, step)
