"""Labels: what a client is for, by the word of its initial access token or of an operator, never by its own.

They say in which tenant, package, connector or workflow a client belongs, so that it can be found, counted and ended with
those that belong together.
"""

from __future__ import annotations

from collections.abc import Mapping

from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.terms import term
from registrar.service import administration
from registrar.service.administration import Operator, Refused
from registrar.service.ports import ClientQuery
from registrar.service.registry import Issuer, Registry


async def check_room(registry: Registry, issuer: Issuer, given: Mapping[str, str]) -> None:
    """Refuse another client where a label has as many as it may. Of many at once, a few too many may come in.

    Raises:
        ProtocolError: `access_denied`, naming the label.
        StoreUnavailable: the store does not answer.
    """
    if full := await _full(registry, issuer, given):
        raise ProtocolError("access_denied", full)


async def label(
    registry: Registry, issuer: Issuer, operator: Operator, client_id: str, given: Mapping[str, str]
) -> Client:
    """Label a client anew, where there is room: else the number of a label would hold for registrations alone.

    Raises:
        Refused: there is no such client, no such label, or a label has as many clients as it may.
        StoreUnavailable: the store does not answer.
    """
    client = await administration.find(registry, issuer, client_id)
    if full := await _full(registry, issuer, dict(given.items() - client.labels.items())):
        raise Refused(full)
    return await administration.label(registry, issuer, operator, client_id, given)


async def _full(registry: Registry, issuer: Issuer, given: Mapping[str, str]) -> str:
    """Which label has no room for another client, in words; empty where all have."""
    for name, value in given.items():
        most = issuer.settings.labels.most.get(name, 0) if value else 0
        if not most:
            continue
        query = ClientQuery(issuer.name, terms=(term(f"label.{name}", value),))
        if await registry.store.count(query, most=most) >= most:
            return f"There are {most} clients with this {name} already, and no more may be."
    return ""


def parsed(words: tuple[str, ...]) -> dict[str, str]:
    """Labels as they are written at a command line: `tenant=acme`.

    Raises:
        Refused: one is not.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Refused(f"{word} is no label such as tenant=acme")
        found[name] = value
    return found
