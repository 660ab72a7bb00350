"""Private keys that this process has opened: unwrapping and parsing one costs more than signing with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

AGAIN_MS: Final = 10_000
"""After so long the store is asked again: a rotation by another process is noticed within it."""


class Signer(NamedTuple):
    """A private key, and the `kid` under which its public half is published."""

    kid: str
    key: Any

    def __repr__(self) -> str:
        """Without the key."""
        return f"Signer({self.kid!r})"


@dataclass(slots=True)
class OpenedKeys:
    """By issuer: until when they count, and the signers by their algorithm."""

    _held: dict[str, tuple[int, Mapping[str, Signer]]] = field(default_factory=dict, repr=False)

    def get(self, issuer: str, now_ms: int) -> Mapping[str, Signer] | None:
        """The signers of an issuer; None where the store has to be asked."""
        held = self._held.get(issuer)
        # The clock may have gone back since: then nobody knows how long ago that was.
        return held[1] if held is not None and held[0] - AGAIN_MS <= now_ms < held[0] else None

    def known(self, issuer: str) -> dict[str, Signer]:
        """Those opened before, by their `kid`, so that none is opened twice."""
        held = self._held.get(issuer)
        return {signer.kid: signer for signer in held[1].values()} if held else {}

    def keep(self, issuer: str, signers: Mapping[str, Signer], now_ms: int) -> None:
        """Hold the signers of an issuer for a while."""
        self._held[issuer] = (now_ms + AGAIN_MS, signers)

    def forget(self, issuer: str) -> None:
        """Ask the store at the next use."""
        self._held.pop(issuer, None)
