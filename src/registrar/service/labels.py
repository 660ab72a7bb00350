"""Labels: what a client is for, by the word of its initial access token or of an operator, never by its own.

They say in which tenant, package, connector or workflow a client belongs, so that it can be found, counted and ended with
those that belong together.
"""

from __future__ import annotations

from collections.abc import Mapping

from registrar.domain.errors import ProtocolError
from registrar.domain.terms import term
from registrar.service.administration import Refused
from registrar.service.ports import ClientQuery
from registrar.service.registry import Issuer, Registry


async def check_room(registry: Registry, issuer: Issuer, given: Mapping[str, str]) -> None:
    """Refuse another client where a label has as many as it may. Of many at once, a few too many may come in.

    Raises:
        ProtocolError: `access_denied`, naming the label.
        StoreUnavailable: the store does not answer.
    """
    for name, value in given.items():
        most = issuer.settings.labels.most.get(name, 0)
        if not most:
            continue
        query = ClientQuery(issuer.name, terms=(term(f"label.{name}", value),))
        if await registry.store.count(query, most=most) >= most:
            raise ProtocolError(
                "access_denied", f"There are {most} clients with this {name} already, and no more may be."
            )


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
