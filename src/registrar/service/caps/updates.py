"""What an update brings under a cap counts like a registration."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.service.caps.cap import COUNTED, NO_CAPS, of_client, of_labels, place_of
from registrar.service.caps.counting import ATTEMPTS, make_room
from registrar.service.ports import Change, Conflict, Drop, Put
from registrar.service.registry import Issuer, Registry


async def joined(registry: Registry, issuer: Issuer, before: Client, after: Client, address: str = "") -> list[Change]:
    """The changes that count a client for caps that it did not count for: an update is no way round what registrations are held to.

    Raises:
        ProtocolError: `too_many_clients`; or `temporarily_unavailable`, where others were faster all the time.
        StoreUnavailable: the store does not answer.
    """
    if issuer.settings.limits.clients == NO_CAPS:
        return []
    for _ in range(ATTEMPTS):
        try:
            return await _joined(registry, issuer, before, after, address)
        except Conflict:  # another one has just had the same client make room
            continue
    raise ProtocolError("temporarily_unavailable")


async def labelled(registry: Registry, issuer: Issuer, client: Client, given: Mapping[str, str]) -> list[Change]:
    """The changes that count a client for labels that it did not have, and for what is counted within them.

    Raises:
        ProtocolError: `access_denied`; a label has as many clients as it may. As `joined`.
        StoreUnavailable: the store does not answer.
    """
    caps = of_labels(issuer, given)
    counted = [change for cap in caps for change in await make_room(registry, issuer, cap, client)]
    labels = {name: value for name, value in {**client.labels, **given}.items() if value}
    return [*counted, *await joined(registry, issuer, client, msgspec.structs.replace(client, labels=labels))]


async def _joined(registry: Registry, issuer: Issuer, before: Client, after: Client, address: str) -> list[Change]:
    had, has = ({cap.key: cap for cap in of_client(issuer, one, address)} for one in (before, after))
    left = [cap for key, cap in had.items() if key not in has and cap.terms is None]
    found: list[Change] = [Drop(issuer.name, COUNTED, place_of(after, cap)) for cap in left]
    for key in sorted(has.keys() - had.keys()):
        found += await make_room(registry, issuer, has[key], after)
    # An item that is dropped and put would be two statements of one write.
    put = {one.item.key for one in found if isinstance(one, Put)}
    return [one for one in found if not (isinstance(one, Drop) and one.key in put)]
