"""Failed attempts to authenticate, counted in this process, so that guessing becomes slow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

FREE: Final = 5
"""Failures after which the next attempt has to wait."""
LONGEST: Final = 300
"""Seconds that it has to wait at the most."""
REMEMBERED: Final = 10_000
"""Pairs of a name and an address that are remembered; more, and the oldest are forgotten."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: int = 0


@dataclass(slots=True)
class Attempts:
    """Who failed how often. Per process: what is guessed has full entropy or is a password behind argon2 besides."""

    _failures: dict[tuple[str, ...], _Failures] = field(default_factory=dict)

    def wait(self, who: tuple[str, ...], now: int) -> int:
        """Seconds that an attempt has to wait; 0 where it is looked at."""
        found = self._failures.get(who)
        wait = found.until - now if found else 0
        return wait if 0 < wait <= LONGEST else 0  # more than the longest is of a clock that has gone back since

    def failed(self, who: tuple[str, ...], now: int) -> None:
        """Count a failure: from the sixth on, each doubles the wait."""
        found = self._failures.pop(who, None) or _Failures()
        found.count += 1
        if found.count >= FREE:
            found.until = now + min(LONGEST, 1 << min(found.count - FREE, 16))
        while len(self._failures) >= REMEMBERED:
            del self._failures[next(iter(self._failures))]
        self._failures[who] = found

    def succeeded(self, who: tuple[str, ...]) -> None:
        """Forget the failures before a success."""
        if self._failures:
            self._failures.pop(who, None)
