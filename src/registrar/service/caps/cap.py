"""Which caps a client counts for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from registrar.domain import terms
from registrar.domain.client import Assurance, Client
from registrar.domain.rates import of_address
from registrar.domain.settings import ClientLimits
from registrar.service.registry import Issuer

TOTAL: Final = "total"
COUNTED: Final = "cap_client"
"""What the clients of a cap are called that no term finds; `owner` is the cap, and they go when their client goes."""
NO_CAPS: Final = ClientLimits()
_NAMES: Final = {
    "owner": "of this owner",
    "token": "of this initial access token",
    "software": "of this software",
    "address": "from this address",
    TOTAL: "of this issuer",
}


class Cap(msgspec.Struct, frozen=True):
    """A cap that a client counts for."""

    name: str
    limit: int
    key: str
    terms: tuple[str, ...] | None = None
    """What finds its clients; where it is none, items do."""
    evicts: bool = True
    """Whether the oldest client that was never used makes room."""
    labels: Mapping[str, str] | None = None
    """The labels that its clients have, and no others; where it is none, whatever they have."""

    def has(self, client: Client) -> bool:
        """Whether a client that the terms find is one of its."""
        return self.labels is None or self.labels == client.labels

    @property
    def whose(self) -> str:
        """Of whom its clients are, in words."""
        return _NAMES.get(self.name) or f"with this {self.name.partition('.')[2]}"

    def refuses(self, client: Client) -> bool:
        """Whether it may refuse a client, or have it make room for another."""
        return self.name != TOTAL or client.admission.shown is Assurance.OPEN


def of_client(issuer: Issuer, client: Client, address: str) -> list[Cap]:
    """The caps that a client counts for that comes from an address, but for those of its labels and of all clients."""
    settings = issuer.settings.limits.clients
    admission, found = client.admission, list[Cap]()
    # Within its labels: no tenant uses up the cap of another by naming its owner, nor has its clients make room.
    within = terms.of_labels(client.labels)
    if settings.owner and admission.owner:
        one = terms.term("owner", admission.owner)
        found.append(Cap("owner", settings.owner, _digest("owner", one, *within), (one, *within), labels=client.labels))
    if settings.token and admission.token_id:
        one = terms.term("token", admission.token_id)
        found.append(Cap("token", settings.token, _digest("token", one), (one,)))
    who, _ = of_address(address, issuer.settings.limits.ipv6_prefix)
    if settings.software and (software := client.metadata.get("software_id")):
        one = terms.term("software", software)
        if client.provenance.get("software_id", "").startswith("attested:"):
            both = (one, terms.term("statement", admission.statement_issuer), *within)
            found.append(Cap("software", settings.software, _digest("software", *both), both, labels=client.labels))
        elif who:
            found.append(Cap("software", settings.software, _digest("software", one, who, *within)))
    if settings.address and who:
        found.append(Cap("address", settings.address, _digest("address", who, *within)))
    return found


def of_labels(issuer: Issuer, given: Mapping[str, str]) -> list[Cap]:
    """The caps of labels that a client counts for."""
    most, found = issuer.settings.labels.most, list[Cap]()
    for name, value in given.items() if most else ():
        if value and (limit := most.get(name, 0)):
            one = terms.term(f"label.{name}", value)
            found.append(Cap(f"label.{name}", limit, _digest("label", one), (one,), evicts=False))
    return found


@lru_cache
def of_issuer(issuer: str, limit: int) -> Cap | None:
    """The cap of all clients of an issuer, where it has one."""
    return Cap(TOTAL, limit, f"{TOTAL}.{issuer}", ()) if limit else None


def place_of(client: Client, cap: Cap) -> str:
    """The key of what says that a client counts for a cap. They begin with the time: rows are added where the last ones were."""
    return f"{client.client_id}.{cap.name}"


def _digest(name: str, *parts: str) -> str:
    joined = "\0".join(parts)
    return f"{name}.{hashlib.sha256(joined.encode()).hexdigest()[:32]}"
