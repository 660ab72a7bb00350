"""Whether all processes on a database are configured alike: they decide about the same clients, one as good as another.

Each says what it is configured with, in one hash for each issuer, and looks at what the others say. Replicas that are
being brought forward one by one differ for a while, so that a difference is told and nothing is stopped by it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import secrets
from typing import Final

import msgspec

from registrar.policy.comparison import terms
from registrar.service.leases import APART, EVERYWHERE
from registrar.service.ports import Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "configuration"
"""Items that say what a process is configured with; the key is the issuer and the process."""
_LASTS: Final = 180
"""Seconds for which what a process has said counts."""

log = logging.getLogger("registrar")


def digest(issuer: Issuer) -> str:
    """What an issuer is configured with, in one hash: every setting, and what every policy says.

    The digests of policies are of whole files, which also say what replicas may differ in: a port, where a key file lies.
    """
    policies = sorted((name, terms(policy)) for name, policy in issuer.policies.items())
    return hashlib.sha256(msgspec.json.encode((dataclasses.asdict(issuer.settings), policies))).hexdigest()


class Agreement:
    """What this process has said, and whom it has told of already.

    Args:
        registry: what every use case is given.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._process = secrets.token_hex(8)
        self._told: frozenset[str] = frozenset()

    async def look(self) -> frozenset[str]:
        """Say what this process is configured with; the issuers for which another one says something else.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        registry, now = self._registry, self._registry.clock() // 1000
        own = {name: digest(issuer) for name, issuer in registry.issuers.items()}
        said = [
            Put(Item(EVERYWHERE, KIND, f"{name} {self._process}", value.encode(), expires_at=now + _LASTS))
            for name, value in own.items()
        ]
        await registry.store.change(said)
        others = await registry.store.items(EVERYWHERE, KIND, limit=1_000)
        differ = frozenset(
            name
            for one in others
            if now < one.expires_at <= now + _LASTS + APART
            and (name := one.key.rpartition(" ")[0]) in own
            and one.body.decode() != own[name]
        )
        for name in sorted(differ - self._told):
            log.warning(
                "another process on this database is configured differently for the issuer %s: what it decides may differ",
                name,
            )
        self._told = differ
        return differ
