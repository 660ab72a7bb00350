"""Access tokens of other authorization servers that let somebody register here: read (RFC 9068), or introspected (RFC 7662).

Whoever is configured as an issuer of such tokens is believed in who somebody is, and in nothing else: what may be
registered is decided by the policy here.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec

from registrar.domain import jws, strict_json
from registrar.domain.access_token import Kind
from registrar.domain.credentials import PresentedToken
from registrar.domain.jws import Malformed, Refused
from registrar.domain.server_metadata import OWN_SIGNING
from registrar.domain.settings import TokenIssuer
from registrar.domain.strict_json import NotStrict
from registrar.service import access
from registrar.service.key_sets import KeysUnavailable
from registrar.service.ports import FetchError, Item, Put
from registrar.service.registry import Issuer, Registry

USED: Final = "used"
"""What used tokens are called among the items of a store, as other used identifiers are."""
TYPES: Final = (None, "at+jwt", "application/at+jwt", "JWT", "jwt")
_JSON: Final = ("application/json",)
_NESTED: Final = 100
_TEXT: Final = 256


class Untrusted(Exception):  # noqa: N818 (what happened to the token)
    """A token of a configured issuer that is not believed, and why."""


class Vouched(msgspec.Struct, frozen=True):
    """Who presents a token, by the word of its issuer."""

    issuer: str
    """The configured name of who says so."""
    kind: Kind
    owner: str
    """Whom it belongs to, in the namespace of that issuer; empty for software's own."""
    client_id: str
    scope: tuple[str, ...]
    token_id: str
    use: Put
    """The change that uses it up, where it is a person's."""


async def vouched(registry: Registry, issuer: Issuer, presented: PresentedToken, now: int) -> Vouched | None:
    """What a configured issuer says of a token; None where none of them issued it.

    Raises:
        Untrusted: it is theirs, and is not in order.
    """
    configured = issuer.settings.registration.token_issuers
    if not configured:
        return None
    try:
        unverified = jws.read(presented)
    except Malformed:
        return await _introspected(registry, issuer, configured, presented, now)
    for name, settings in configured.items():
        if settings.jwks_uri and unverified.claims.get("iss") == settings.issuer:
            claims = await _verified(registry, settings, unverified)
            return _judged(issuer, name, settings, claims, presented, now)
    return await _introspected(registry, issuer, configured, presented, now)


async def _verified(registry: Registry, settings: TokenIssuer, unverified: jws.UnverifiedJWS) -> Mapping[str, Any]:
    if unverified.header.get("typ") not in TYPES:
        raise Untrusted("It is not an access token: typ says otherwise.")
    try:
        keys = await registry.key_sets.keys(settings.jwks_uri, unverified.kid)
        return jws.verify(unverified, keys, OWN_SIGNING).claims
    except Refused as problem:
        raise Untrusted(f"It is refused: {problem}.") from None
    except KeysUnavailable as problem:
        raise Untrusted(f"It cannot be verified: {problem.reason}.") from None


async def _introspected(
    registry: Registry, issuer: Issuer, configured: Mapping[str, TokenIssuer], presented: PresentedToken, now: int
) -> Vouched | None:
    """Ask each issuer that can be asked; the first that knows the token has issued it."""
    for name, settings in configured.items():
        if not settings.introspection_endpoint:
            continue
        try:
            secret = await asyncio.to_thread(Path(settings.client_secret_file).read_text, "utf-8")
            # RFC 6749 §2.3.1: each is form-urlencoded before they are joined.
            joined = f"{quote_plus(settings.client_id)}:{quote_plus(secret.strip())}"
            authorization = f"Basic {base64.b64encode(joined.encode()).decode()}"
            form = {"token": presented, "token_type_hint": "access_token"}
            answer = await registry.fetch.post(
                settings.introspection_endpoint, form, accept=_JSON, authorization=authorization
            )
            claims = strict_json.read_object(answer.body, nested=_NESTED)
        except (FetchError, NotStrict, OSError) as problem:
            raise Untrusted(f"Its issuer could not be asked: {problem}.") from None
        if claims.get("active") is True:
            return _judged(issuer, name, settings, claims, presented, now)
    return None


def _judged(
    issuer: Issuer, name: str, settings: TokenIssuer, claims: Mapping[str, Any], presented: PresentedToken, now: int
) -> Vouched:
    """Hold what is said of a token to be meant for this server, of this moment, and of somebody."""
    accepted = (settings.audience or issuer.url, issuer.registration_endpoint)
    problem = jws.check_audience(claims, accepted) or jws.check_times(claims, now)
    if problem:
        raise Untrusted(f"It is refused: {problem}.")
    expires = claims.get("exp")
    if not isinstance(expires, (int, float)):
        raise Untrusted("It does not say when it expires (exp).")
    if claims.get("cnf"):
        raise Untrusted("It is bound to a key, and is no bearer token.")
    client_id = _text(claims, "client_id") or _text(claims, "azp")
    subject = _text(claims, "sub")
    kind = Kind(settings.kind) if settings.kind else (Kind.USER if subject not in ("", client_id) else Kind.CLIENT)
    if kind is Kind.USER and not subject:
        raise Untrusted("It does not say whose it is (sub).")
    key = access.key(f"{name}\0{presented}")
    return Vouched(
        issuer=name,
        kind=kind,
        owner=f"{name}:{subject}" if kind is Kind.USER else "",
        client_id=client_id,
        scope=_scope(claims),
        token_id=key[:32],
        use=Put(Item(issuer.name, USED, key, b"", expires_at=int(expires) + jws.SKEW), expected=0, now=now),
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= _TEXT else ""


def _scope(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """As RFC 8693 §4.2 has it, or as a list, or under the name that some servers give it."""
    value = claims.get("scope", claims.get("scp"))
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
