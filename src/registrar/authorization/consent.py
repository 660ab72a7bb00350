"""Consent: what a person let a client have, and when they need not be asked again.

Nobody can tell a public client on loopback or behind a private-use scheme from another program on the same device that
copied its identifier (RFC 8252 §8.6). So what was allowed before counts only for a client that proves what it is: by a
credential, or by an https address that belongs to it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from registrar.authorization.request import AuthorizationRequest
from registrar.domain import redirect_uri
from registrar.domain.client import Client
from registrar.domain.redirect_uri import Kind, RedirectURI
from registrar.service.ports import Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "consent"
"""What these are called among the items of a store; the key is subject and client_id."""


class Consent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person agreed to, all times together."""

    scope: tuple[str, ...]
    resource: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    given_at: int = 0
    expansion: int = 0
    """The `expanded_at` of the client that was agreed to: of any other, it says nothing."""
    proved: bool = False
    """Whether the client proved then what it is: one that comes to do so was not known when it did not."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Consent).decode


def proves_itself(client: Client, uri: str) -> bool:
    """Whether the code can reach nobody but the client: it authenticates, or its redirect URI is an https address."""
    if client.metadata.get("token_endpoint_auth_method") != "none":
        return True
    judged = redirect_uri.judge(uri, "redirect_uri")
    return isinstance(judged, RedirectURI) and judged.kind is Kind.HTTPS


async def find(registry: Registry, issuer: Issuer, client_id: str, subject: str) -> Consent | None:
    """What a person agreed to before.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, _key(client_id, subject))
    return _decode(item.body) if item else None


def fresh(before: Consent | None, client: Client) -> Consent | None:
    """A consent, unless its client got more than it had since: it was for less, or for what was called something else.

    One of the very second of an expansion does not count either: a template may have expanded in that second too.
    """
    if before is None or before.expansion != client.expanded_at:
        return None
    return before if not client.expanded_at or before.given_at > client.expanded_at else None


def covers(before: Consent | None, client: Client, request: AuthorizationRequest) -> bool:
    """Whether a request asks for nothing new, from a client that is known to be the one that was agreed to.

    Authorization details are about one occasion (RFC 9396 §2), so they are asked about each time.
    """
    before = fresh(before, client)
    if before is None or not before.proved or request.authorization_details:
        return False
    if not proves_itself(client, request.redirect_uri):
        return False
    asked = ((request.scope, before.scope), (request.resource, before.resource), (claims_of(request), before.claims))
    return all(set(wanted) <= set(had) for wanted, had in asked)


def given(
    issuer: Issuer, request: AuthorizationRequest, client: Client, subject: str, before: Consent | None, now: int
) -> Put:
    """The change that remembers that a person agreed to a request of a client as it was shown to them."""
    proved = proves_itself(client, request.redirect_uri)
    had = fresh(before, client) or Consent(())
    if had.proved and not proved:
        return _put(issuer, request, subject, had)  # it adds nothing to what was agreed to where the client was known
    if proved and not had.proved:
        had = Consent(())
    consent = Consent(
        scope=_joined(had.scope, request.scope),
        resource=_joined(had.resource, request.resource),
        claims=_joined(had.claims, claims_of(request)),
        given_at=now,
        expansion=client.expanded_at,
        proved=proved,
    )
    return _put(issuer, request, subject, consent)


def _put(issuer: Issuer, request: AuthorizationRequest, subject: str, consent: Consent) -> Put:
    key = _key(request.client_id, subject)
    return Put(Item(issuer.name, KIND, key, _encode(consent), client_id=request.client_id, owner=subject))


def claims_of(request: AuthorizationRequest) -> tuple[str, ...]:
    """The claims that a request names one by one (OpenID Connect Core §5.5)."""
    wanted = request.claims or {}
    members = (wanted.get("userinfo"), wanted.get("id_token"))
    return tuple(dict.fromkeys(name for member in members if isinstance(member, dict) for name in member))


def _joined(had: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*had, *more)))


def _key(client_id: str, subject: str) -> str:
    return f"{subject} {client_id}"
