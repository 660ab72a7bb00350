"""Where software leads that has many clients: one look at them serves all who come within a second."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class KnownSoftware:
    """Where software leads of which as many clients are known as are looked at, as it was found within this second.

    Another client does not change that: the oldest are looked at. What is known of fewer may be another thing with the next.
    """

    _second: int = 0
    _hosts: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def hosts(self, key: tuple[str, str], second: int) -> tuple[str, ...] | None:
        """The redirect hosts of an issuer's software; None where they are to be looked up."""
        return self._hosts.get(key) if second == self._second else None

    def keep(self, key: tuple[str, str], second: int, hosts: tuple[str, ...]) -> None:
        """Remember them until the second is over."""
        if second != self._second:
            self._hosts.clear()
            self._second = second
        self._hosts[key] = hosts
