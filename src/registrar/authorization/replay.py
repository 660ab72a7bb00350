"""Identifiers that count once (`jti`, RFC 7519 §4.1.7): remembered, across processes, for as long as they could be used."""

from __future__ import annotations

from typing import Final

from registrar.service import access
from registrar.service.ports import Conflict, Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "used"
"""What used identifiers are called among the items of a store; the key is the digest of whose and which it is."""


async def first_use(registry: Registry, issuer: Issuer, *of: str, until: int, now: int) -> bool:
    """Whether something is used for the first time; from now on, it is used.

    Args:
        registry: what every use case is given.
        issuer: where it is used.
        of: what tells it apart: what it is, whose, and its identifier.
        until: seconds since 1970 from which it could not be used in any case.
        now: seconds since 1970.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = Item(issuer.name, KIND, access.key("\0".join(of)), b"", expires_at=until)
    try:
        await registry.store.change([Put(item, expected=0, now=now)])
    except Conflict:
        return False
    return True
