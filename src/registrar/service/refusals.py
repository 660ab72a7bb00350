"""Client ID Metadata Documents that were refused a moment ago: nobody has the same one fetched again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from registrar.domain.findings import Finding


@dataclass(slots=True)
class Refusals:
    """What this process has just been refused, so that who repeats it does not have it fetched again at once.

    It is no cache: nothing is taken from it, and after some seconds the document is asked for as if nothing had been.
    """

    most: int = 1_000
    _kept: OrderedDict[tuple[str, str], tuple[int, tuple[Finding, ...]]] = field(default_factory=OrderedDict)

    def keep(self, issuer: str, url: str, until: int, findings: Sequence[Finding]) -> None:
        """Remember a refusal until a time, in seconds since 1970."""
        self._kept[issuer, url] = (until, tuple(findings))
        self._kept.move_to_end((issuer, url))
        if len(self._kept) > self.most:
            self._kept.popitem(last=False)

    def of(self, issuer: str, url: str, now: int, longest: int) -> tuple[Finding, ...]:
        """Why a document was refused a moment ago; nothing where it was not, or where the clock has gone back since."""
        until, findings = self._kept.get((issuer, url), (0, ()))
        return findings if now < until <= now + longest else ()

    def forget(self, issuer: str, url: str) -> None:
        """Let a document be asked for at once."""
        self._kept.pop((issuer, url), None)
