"""Labels: what a client is for, by the word of its initial access token or of an operator, never by its own.

They say in which tenant, package, connector or workflow a client belongs, so that it can be found, counted and ended with
those that belong together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.service import administration, caps
from registrar.service.operators import Operator, Refused
from registrar.service.ports import Change
from registrar.service.registry import Issuer, Registry


async def label(
    registry: Registry, issuer: Issuer, operator: Operator, client_id: str, given: Mapping[str, str]
) -> Client:
    """Label a client anew, where there is room: else the number of a label would hold for registrations alone.

    Raises:
        Refused: there is no such client, no such label, or a label has as many clients as it may.
        StoreUnavailable: the store does not answer.
    """

    async def counted(client: Client) -> Sequence[Change]:
        try:
            return await caps.labelled(registry, issuer, client, dict(given.items() - client.labels.items()))
        except ProtocolError as full:
            raise Refused(full.description) from None

    return await administration.label(registry, issuer, operator, client_id, given, counted)


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
