"""Failed attempts to authenticate, counted so that guessing becomes slow: by every process that shares its windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from registrar.domain.rates import of_address
from registrar.service.windows import OwnWindows, Windows

FREE: Final = 5
"""Failures after which the next attempt has to wait."""
LONGEST: Final = 300
"""Seconds that it has to wait at the most."""
FORGOTTEN: Final = 86_400
"""Seconds after the first failure in which all are forgotten."""
_HOUSEHOLD: Final = 64
"""Bits of an IPv6 address that tell one household from another."""


def network(address: str) -> str:
    """Whose attempts are counted together: an IPv4 address, or the /64 that one household has of IPv6.

    Unlike with rates, loopback counts, and whatever stands in the place of an address.
    """
    return of_address(address, _HOUSEHOLD)[0] or address


class Tried(NamedTuple):
    """How often somebody failed, and the seconds that the next attempt has to wait; 0 where it is looked at."""

    failures: int = 0
    wait: int = 0


@dataclass(slots=True)
class Attempts:
    """Who failed how often.

    By themselves, processes keep windows of their own for it, so that a flood of addresses that are counted elsewhere does
    not push failures out.
    """

    windows: Windows = field(default_factory=OwnWindows)

    async def of(self, who: tuple[str, ...], now: int) -> Tried:
        """What is known of somebody."""
        key = _key(who)
        failures = await self.windows.look(key, now)
        if failures < FREE or not await self.windows.look(_wait(key, failures), now):
            return Tried(failures)
        return Tried(failures, await self.windows.left(_wait(key, failures), now))

    async def failed(self, who: tuple[str, ...], now: int) -> int:
        """Count a failure, and tell how many that makes: from the sixth on, each doubles the wait."""
        key = _key(who)
        failures = await self.windows.hit(key, FORGOTTEN, now)
        if failures >= FREE:
            seconds = min(LONGEST, 1 << min(failures - FREE, 16))
            await self.windows.hit(_wait(key, failures), seconds, now)
        return failures

    async def took(self, counted: Iterable[tuple[str, ...]], now: int) -> int:
        """Count an attempt as failed before it is looked at, so that many at once are not looked at all the same.

        Returns:
            Seconds that it has to wait, without being counted; 0 where it may be looked at.
        """
        tried = {who: await self.of(who, now) for who in counted}
        if wait := max(one.wait for one in tried.values()):
            return wait
        numbers = {who: await self.failed(who, now) for who in tried}
        # Who counts further than that was not alone, in this process or in another.
        return int(any(numbers[who] > max(FREE, one.failures + 1) for who, one in tried.items()))

    async def succeeded(self, who: tuple[str, ...], now: int) -> None:
        """Forget the failures before a success."""
        await self.windows.forget(_key(who), now)


def _key(who: tuple[str, ...]) -> str:
    """A name as short as any other: what strangers call themselves may be long."""
    return f"attempts {hashlib.sha256(repr(who).encode()).hexdigest()[:32]}"


def _wait(key: str, failures: int) -> str:
    """The window for which the next attempt waits; each failure has its own, because a window ends when it ends."""
    return f"{key} {failures}"
