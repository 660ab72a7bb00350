"""Authorization codes (RFC 6749 §4.1.2): used once, for a minute, by the client that asked, with its verifier."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

import msgspec

from registrar.authorization.grant import Grant
from registrar.authorization.request import AuthorizationRequest
from registrar.domain import credentials
from registrar.domain.credentials import TOKEN_BYTES
from registrar.service import access
from registrar.service.ports import Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "code"
"""What codes are called among the items of a store; the key is the digest."""
FRESH: Final = 1
"""The version of a code that was not used yet."""
VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
"""RFC 7636 §4.1."""


class Code(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a code stands for: the grant to be, and what the token request has to repeat or prove."""

    grant: Grant
    redirect_uri: str
    redirect_uri_given: bool
    code_challenge: str = ""
    dpop_jkt: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Code).decode


def issue(registry: Registry, issuer: Issuer, request: AuthorizationRequest, grant: Grant, now: int) -> tuple[str, Put]:
    """A code for a request that was allowed, and the change that stores it."""
    value = credentials.token(registry.entropy(TOKEN_BYTES))
    code = Code(
        grant=grant,
        redirect_uri=request.redirect_uri,
        redirect_uri_given=request.redirect_uri_given,
        code_challenge=request.code_challenge or "",
        dpop_jkt=request.dpop_jkt or "",
    )
    lifetime = issuer.settings.authorization.code_lifetime
    return value, Put(_item(issuer, access.key(value), code, FRESH, now + lifetime))


async def find(registry: Registry, issuer: Issuer, presented: str, now: int) -> tuple[Item, Code] | None:
    """A code that was presented, used ones included, and the item that holds it.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, access.key(presented))
    return (item, _decode(item.body)) if item is not None and item.lives(now) else None


def used(issuer: Issuer, item: Item, code: Code, now: int) -> Put:
    """The change that uses a code: of concurrent uses, one wins. It is remembered for as long as what it bought lives."""
    until = now + issuer.settings.authorization.access_token_lifetime
    return Put(_item(issuer, item.key, code, FRESH + 1, until), expected=FRESH)


def verifies(challenge: str, verifier: str) -> bool:
    """Whether a code verifier is the one of an S256 challenge (RFC 7636 §4.6)."""
    if not VERIFIER.fullmatch(verifier):
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return credentials.same(digest, challenge.encode())


def _item(issuer: Issuer, key: str, code: Code, version: int, expires_at: int) -> Item:
    return Item(
        issuer.name,
        KIND,
        key,
        _encode(code),
        version=version,
        client_id=code.grant.client_id,
        owner=code.grant.authentication.subject,
        expires_at=expires_at,
    )
