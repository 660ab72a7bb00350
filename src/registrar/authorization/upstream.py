"""Signing in at another OpenID provider, as its client: the code flow of OpenID Connect Core §3.1 with PKCE.

What ties the answer to the browser that asked is derived from that browser's cookie: `state`, `nonce` and the code
verifier (RFC 9700 §4.7, OpenID Connect Core §15.5.2). A stranger's code has none of the three, so it signs nobody in.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec

from registrar.authorization import sessions
from registrar.authorization.interaction import Interaction
from registrar.authorization.request import AuthorizationRequest
from registrar.domain import jws, server_metadata, strict_json
from registrar.domain import uri as grammar
from registrar.domain.strict_json import NotStrict
from registrar.service.key_sets import KeysUnavailable
from registrar.service.ports import FetchError
from registrar.service.registry import Issuer, Registry

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
"""Signatures of ID tokens that are believed: those of a key that only the provider has."""

_JSON: Final = ("application/json", "application/*+json")
_NESTED: Final = 64


class Unusable(Exception):  # noqa: N818 (what happened to the sign-in)
    """The upstream provider signed nobody in, and why; the reason may be shown to the person."""


class Provider(msgspec.Struct, frozen=True):
    """What is used of a provider's metadata (OpenID Connect Discovery §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    methods: tuple[str, ...]
    announces_issuer: bool
    """Whether each of its answers says who gives it (RFC 9207 §3)."""


class Told(msgspec.Struct, frozen=True):
    """What the provider says of a person who signed in there."""

    claims: dict[str, Any]
    auth_time: int
    """As it says, or now."""
    acr: str
    amr: tuple[str, ...]


def callback(issuer: Issuer) -> str:
    """Where the provider sends people back to; to be registered there."""
    return server_metadata.endpoint_url(issuer.url, server_metadata.PAGES["callback"])


def name(issuer: Issuer) -> str:
    """What people call the provider."""
    settings = issuer.settings.upstream
    return settings.name or grammar.host_of(settings.issuer)


async def discover(registry: Registry, issuer: Issuer) -> Provider:
    """The provider's metadata, which has to be its own (OpenID Connect Discovery §4.3).

    Raises:
        Unusable: it cannot be fetched, is somebody else's, or lacks what is needed.
    """
    wanted = issuer.settings.upstream.issuer
    url = wanted.rstrip("/") + "/.well-known/openid-configuration"
    try:
        members = strict_json.read_object((await registry.fetch(url, accept=_JSON)).body, nested=_NESTED)
    except (FetchError, NotStrict) as problem:
        raise Unusable(f"it cannot be reached: {problem}") from None
    if members.get("issuer") != wanted:
        raise Unusable("what it says of itself names another issuer")
    urls = [members.get(member) for member in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
    if not all(isinstance(one, str) and grammar.host_of(one) for one in urls):
        raise Unusable("what it says of itself lacks an endpoint")
    methods = members.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Provider(
        wanted,
        str(urls[0]),
        str(urls[1]),
        str(urls[2]),
        methods=tuple(methods) if isinstance(methods, list) else (),
        announces_issuer=members.get("authorization_response_iss_parameter_supported") is True,
    )


def authorization_url(issuer: Issuer, provider: Provider, browser: str, identifier: str, asked: Interaction) -> str:
    """Where to send a person to sign in (OpenID Connect Core §3.1.2.1).

    Args:
        issuer: whose client the provider knows.
        provider: its metadata.
        browser: the value of the browser's cookie.
        identifier: of the interaction that goes on afterwards; it travels as part of `state`.
        asked: that interaction; what its request says of the sign-in is passed on.
    """
    settings = issuer.settings.upstream
    request = asked.request
    parameters = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": callback(issuer),
        "scope": " ".join(settings.scopes),
        "state": f"{identifier}.{sessions.bound(browser, 'upstream state', identifier)}",
        "nonce": _nonce(browser, identifier),
        "code_challenge": _s256(_verifier(browser, identifier)),
        "code_challenge_method": "S256",
    }
    if request is not None:
        more = {
            "max_age": None if _freshest(request) is None else str(_freshest(request)),
            "prompt": next((one for one in ("login", "select_account") if one in request.prompt), None),
            "login_hint": request.login_hint,
            "acr_values": " ".join(request.acr_values),
            "ui_locales": " ".join(request.ui_locales),
        }
        parameters |= {member: value for member, value in more.items() if value}
    mark = "&" if "?" in provider.authorization_endpoint else "?"
    return f"{provider.authorization_endpoint}{mark}{urlencode(parameters)}"


def interaction_of(state: str, browser: str) -> str:
    """The interaction that an answer belongs to; empty where this browser did not ask for it."""
    identifier, _, proof = state.partition(".")
    return identifier if sessions.is_bound(proof, browser, "upstream state", identifier) else ""


async def complete(
    registry: Registry, issuer: Issuer, browser: str, identifier: str, answer: Mapping[str, str], asked: Interaction
) -> Told:
    """What the provider says of the person, after it sent them back (OpenID Connect Core §3.1.2.5 to §3.1.3.7).

    Args:
        registry: what every use case is given.
        issuer: whose client the provider knows.
        browser: the value of the browser's cookie.
        identifier: of the interaction, as `interaction_of` gave it.
        answer: the parameters with which the person came back.
        asked: the interaction.

    Raises:
        Unusable: an error, an answer of somebody else, or an ID token that is not to be believed.
    """
    provider = await discover(registry, issuer)
    said = answer.get("iss", provider.issuer if not provider.announces_issuer else "")
    if said != provider.issuer:  # RFC 9207 §2.4: another provider's answer, mixed up with this one's
        raise Unusable("the answer does not come from it")
    if "error" in answer:
        raise Unusable(_said(answer))
    if not answer.get("code"):
        raise Unusable("the answer holds no code")
    id_token = await _exchange(registry, issuer, provider, answer["code"], _verifier(browser, identifier))
    claims = await _verified(registry, issuer, provider, id_token, _nonce(browser, identifier))
    return _told(claims, asked.request, registry.clock() // 1000)


_ERRORS: Final = {
    "access_denied": "it did not let you in, or you changed your mind",
    "login_required": "it could not sign you in",
    "temporarily_unavailable": "it is not available at the moment",
}


def _said(answer: Mapping[str, str]) -> str:
    # What stands in a query is anybody's text; only what is known is repeated.
    return _ERRORS.get(answer["error"], "it answered with an error")


async def _exchange(registry: Registry, issuer: Issuer, provider: Provider, code: str, verifier: str) -> str:
    settings = issuer.settings.upstream
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback(issuer),
        "code_verifier": verifier,
    }
    authorization = ""
    secret = await _secret(settings.client_secret_file)
    if secret and "client_secret_basic" not in provider.methods and "client_secret_post" in provider.methods:
        form |= {"client_id": settings.client_id, "client_secret": secret}
    elif secret:  # RFC 6749 §2.3.1: each is form-urlencoded before they are joined
        joined = f"{quote_plus(settings.client_id)}:{quote_plus(secret)}"
        authorization = f"Basic {base64.b64encode(joined.encode()).decode()}"
    else:
        form["client_id"] = settings.client_id
    try:
        fetched = await registry.fetch.post(provider.token_endpoint, form, accept=_JSON, authorization=authorization)
        id_token = strict_json.read_object(fetched.body, nested=_NESTED).get("id_token")
    except (FetchError, NotStrict) as problem:
        raise Unusable(f"it did not take the code: {problem}") from None
    if not isinstance(id_token, str):
        raise Unusable("it answered without an ID token")
    return id_token


async def _secret(path: str) -> str:
    """Read anew each time, so that a new one holds without a restart."""
    if not path:
        return ""
    try:
        return (await asyncio.to_thread(Path(path).read_text, "utf-8")).strip()
    except (OSError, UnicodeDecodeError):
        raise Unusable("the secret of this server there cannot be read") from None


async def _verified(
    registry: Registry, issuer: Issuer, provider: Provider, id_token: str, nonce: str
) -> Mapping[str, Any]:
    """The claims of an ID token that says what it must (OpenID Connect Core §3.1.3.7)."""
    try:
        unverified = jws.read(id_token)
        keys = await registry.key_sets.keys(provider.jwks_uri, unverified.kid)
        claims = jws.verify(unverified, keys, ALGORITHMS).claims
    except (jws.Malformed, jws.Refused, KeysUnavailable) as problem:
        raise Unusable(f"its ID token is not to be trusted: {problem}") from None
    client_id = issuer.settings.upstream.client_id
    authorized = claims.get("azp", client_id)
    fault = (
        ("it is somebody else's (iss)" if claims.get("iss") != provider.issuer else None)
        or jws.check_audience(claims, (client_id,))
        or ("it was issued to somebody else (azp)" if authorized != client_id else None)
        or jws.check_times(claims, registry.clock() / 1000, max_lifetime=_LIFETIME)
        or (None if _same(claims.get("nonce"), nonce) else "it is not for this sign-in (nonce)")
        or (None if isinstance(claims.get("sub"), str) and claims["sub"] else "it does not say who signed in (sub)")
    )
    if fault:
        raise Unusable(f"its ID token is not to be trusted: {fault}")
    return claims


_LIFETIME: Final = 7 * 86_400
"""Seconds that an ID token may say to be valid; what is longer is a mistake."""


def _told(claims: Mapping[str, Any], request: AuthorizationRequest | None, now: int) -> Told:
    told_time, acr, amr = claims.get("auth_time"), claims.get("acr"), claims.get("amr")
    auth_time = min(told_time, now) if isinstance(told_time, int) and told_time > 0 else 0
    limit = _freshest(request) if request else None
    if limit is not None and (not auth_time or now - auth_time > limit + jws.SKEW):
        # OpenID Connect Core §3.1.3.7, step 13: a fresh sign-in was asked for.
        raise Unusable("it did not sign you in anew, as the application asked")
    return Told(
        claims=dict(claims),
        auth_time=auth_time or now,
        acr=acr if isinstance(acr, str) else "",
        amr=tuple(one for one in amr if isinstance(one, str)) if isinstance(amr, list) else (),
    )


def _freshest(request: AuthorizationRequest) -> int | None:
    """How long ago a person may have signed in there."""
    return 0 if "login" in request.prompt else request.max_age


def _nonce(browser: str, identifier: str) -> str:
    return sessions.bound(browser, "upstream nonce", identifier)


def _verifier(browser: str, identifier: str) -> str:
    return sessions.bound(browser, "upstream code verifier", identifier)


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _same(one: Any, other: str) -> bool:
    return isinstance(one, str) and hmac.compare_digest(one.encode(), other.encode())
