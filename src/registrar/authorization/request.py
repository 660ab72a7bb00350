"""An authorization request: what was asked for, and what was checked against the client (RFC 6749 §4.1.1).

A request that fails is told to the client by way of the browser, once it is known where the client is; before that, and
where nobody vouches for the client, it is told to the person alone: `RequestError.returns` says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registrar.authorization import clients, request_object, resource, signing
from registrar.authorization.call import Parameters
from registrar.domain import redirect_uri, strict_json
from registrar.domain.access_token import SCOPE
from registrar.domain.client import Client, State
from registrar.domain.errors import ProtocolError
from registrar.domain.settings import Clients
from registrar.domain.strict_json import NotStrict
from registrar.service import access
from registrar.service.audit import Caller
from registrar.service.ports import Conflict, Drop
from registrar.service.registry import Issuer, Registry

PUSHED: Final = "urn:ietf:params:oauth:request_uri:"
"""What the request URIs of pushed requests begin with (RFC 9126 §2.2)."""
KIND: Final = "pushed_request"
"""What pushed requests are called among the items of a store; the key is the digest of the rest of the URI."""

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9\-_]{43}")
_THUMBPRINT: Final = _CHALLENGE
_AGE: Final = re.compile(r"[0-9]{1,10}")
_NESTED: Final = 100
_DETAILS: Final = 20


class AuthorizationRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request that its client may make: redirect URI, response type, scope and the rest have been checked.

    Made by `judge` alone; kept as an item while a person signs in and decides.
    """

    issuer: str
    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    """Whether the request named it; then the token request has to name it too (RFC 6749 §4.1.3)."""
    response_type: str
    response_mode: str
    """`query`, `fragment`, `form_post`, or one of JARM's (`query.jwt`, `fragment.jwt`, `form_post.jwt`)."""
    scope: tuple[str, ...]
    """Asked for and registered; what is left of the request."""
    state: str | None = None
    nonce: str | None = None
    code_challenge: str | None = None
    code_challenge_method: str | None = None
    resource: tuple[str, ...] = ()
    """RFC 8707: absolute URIs that are configured resources of the issuer."""
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    """Of the request, or the registered `default_max_age`."""
    acr_values: tuple[str, ...] = ()
    login_hint: str | None = None
    hinted_subject: str | None = None
    """The `sub` of a verified `id_token_hint`."""
    ui_locales: tuple[str, ...] = ()
    claims: dict[str, Any] | None = None
    authorization_details: list[dict[str, Any]] | None = None
    dpop_jkt: str | None = None
    pushed: bool = False


class Authentication(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who signed in, when and how: what a session proves."""

    subject: str
    """The person's identifier here, the same at every client; `subject.for_client` makes what a client sees."""
    time: int
    """Seconds since 1970 (`auth_time`)."""
    session_id: str
    acr: str = ""
    amr: tuple[str, ...] = ()


class ReturnAddress(msgspec.Struct, frozen=True):
    """Where an answer to a request may go: a registered redirect URI, by a way that is offered, with its state."""

    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    response_mode: str
    state: str | None


class RequestError(ProtocolError):
    """An authorization request that was refused.

    Args:
        error: what was wrong.
        returns: where the client can be told; None where the person alone may be.
    """

    def __init__(self, error: ProtocolError, returns: ReturnAddress | None = None) -> None:
        super().__init__(error.kind.name, error.description)
        self.returns = returns


async def judge(
    registry: Registry, issuer: Issuer, given: Parameters, now: int, address: str = ""
) -> AuthorizationRequest:
    """The request of a browser at the authorization endpoint.

    Args:
        registry: what every use case is given.
        issuer: whose endpoint it is.
        given: the parameters, as `call.read` reads them.
        now: seconds since 1970.
        address: where the browser is.

    Raises:
        RequestError: it is refused.
        ProtocolError: a client whose client_id is a URL is not known and cannot be met.
        StoreUnavailable: the store does not answer.
    """
    client = await _client(registry, issuer, given, address)
    pushed = given.get("request_uri", "").startswith(PUSHED)
    if pushed and "request" not in given:
        return await _taken(registry, issuer, client, given["request_uri"], now)
    if client.metadata.get("require_pushed_authorization_requests"):
        problem = ProtocolError("invalid_request", "This client registered to push its requests (RFC 9126 section 6).")
        raise RequestError(problem, _outer(issuer, client, given))
    return await judged(registry, issuer, client, given, now)


async def judged(
    registry: Registry, issuer: Issuer, client: Client, given: Parameters, now: int, *, pushed: bool = False
) -> AuthorizationRequest:
    """The request of a known client; that of a pushed one is authenticated.

    Raises:
        RequestError: it is refused.
        StoreUnavailable: the store does not answer.
    """
    try:
        asked = await request_object.opened(registry, issuer, client, given, now)
    except ProtocolError as error:
        raise RequestError(error, _outer(issuer, client, given)) from None
    returns = _return_address(issuer, client, asked)
    try:
        hinted = await _hinted(registry, issuer, client, asked)
        return _judge(issuer, client, asked, returns, hinted, pushed=pushed)
    except ProtocolError as error:
        raise RequestError(error, returns) from None


async def _client(registry: Registry, issuer: Issuer, given: Parameters, address: str) -> Client:
    client_id = given.get("client_id", "")
    client = await clients.arriving(registry, issuer, client_id, Caller("/authorize", address=address))
    if client is None:
        said = "There is no such client here, or there is no more." if client_id else "client_id is missing."
        raise RequestError(ProtocolError("invalid_client" if client_id else "invalid_request", said))
    if not client.in_reach:
        why = (
            "waits for its operator's review"
            if client.state is State.PENDING
            else "is suspended; its operator can tell why"
        )
        raise RequestError(ProtocolError("access_denied", f"This client {why}."))
    return client


async def _taken(
    registry: Registry, issuer: Issuer, client: Client, request_uri: str, now: int
) -> AuthorizationRequest:
    """A pushed request, once (RFC 9126 §4), and only as its client is registered now."""
    key = access.key(request_uri.removeprefix(PUSHED))
    item = await registry.store.item(issuer.name, KIND, key)
    if item is None or not item.lives(now) or item.client_id != client.client_id:
        raise RequestError(ProtocolError("invalid_request_uri", "The pushed request is unknown, used or expired."))
    request = decode(item.body)
    try:
        check_registered(issuer, client, request)
    except ProtocolError as error:
        raise RequestError(error) from None
    try:
        await registry.store.change([Drop(issuer.name, KIND, key, expected=item.version)])
    except Conflict:
        raise RequestError(ProtocolError("invalid_request_uri", "The pushed request was used before.")) from None
    return request


def check_registered(issuer: Issuer, client: Client, request: AuthorizationRequest) -> None:
    """Hold a request that has waited against what its client has registered by now.

    Raises:
        ProtocolError: `invalid_request`, saying what is registered no more.
    """
    words = frozenset(request.response_type.split())
    if not any(redirect_uri.matches(one, request.redirect_uri) for one in client.metadata.get("redirect_uris", ())):
        gone = "redirect_uri"
    elif words not in map(_as_set, client.metadata.get("response_types", ())):
        gone = "response_type"
    elif not set(request.scope) <= set(clients.askable_scope(issuer, client)):
        gone = "scope"
    else:
        return
    raise ProtocolError("invalid_request", f"What was asked for as {gone} is registered no more; start again.")


decode: Final = msgspec.json.Decoder(AuthorizationRequest).decode


# --- where an answer may go -------------------------------------------------------------------------------------------


def _outer(issuer: Issuer, client: Client, given: Parameters) -> ReturnAddress | None:
    """Where to tell of a request that could not be opened: as its unsigned part says, if that is registered."""
    try:
        return _return_address(issuer, client, given)
    except RequestError:
        return None


def _return_address(issuer: Issuer, client: Client, asked: Parameters) -> ReturnAddress:
    """RFC 6749 §3.1.2.3, §3.1.2.4: one that is not registered is never followed.

    Raises:
        RequestError: shown to the person.
    """
    registered: Sequence[str] = client.metadata.get("redirect_uris", ())
    named = asked.get("redirect_uri")
    if named is None and len(registered) != 1:
        said = "The client registered several redirect URIs, so the request has to name one."
        said = said if registered else "The client registered no redirect URI."
        raise RequestError(ProtocolError("invalid_request", said))
    if named is not None and not any(redirect_uri.matches(one, named) for one in registered):
        raise RequestError(
            ProtocolError(
                "invalid_request", "redirect_uri is not one that the client registered, character by character."
            )
        )
    mode = asked.get("response_mode", "")
    offered = clients.offered_to(issuer, client)["response_modes_supported"]
    # An error is told in the way that was asked for where that exists, and in the plain way where it is the error.
    return ReturnAddress(
        client_id=client.client_id,
        redirect_uri=named or registered[0],
        redirect_uri_given=named is not None,
        response_mode=_mode(client, asked.get("response_type", "code"), mode if mode in offered else ""),
        state=asked.get("state"),
    )


def _mode(client: Client, response_type: str, asked: str) -> str:
    """The response mode of a request: the asked one, or that of its response type (JARM §2.3.4)."""
    plain = "query" if response_type == "code" else "fragment"
    if asked:
        return f"{plain}.jwt" if asked == "jwt" else asked
    return f"{plain}.jwt" if "authorization_signed_response_alg" in client.metadata else plain


# --- what is asked for ------------------------------------------------------------------------------------------------


def _judge(
    issuer: Issuer,
    client: Client,
    asked: Parameters,
    returns: ReturnAddress,
    hinted: str | None,
    *,
    pushed: bool,
) -> AuthorizationRequest:
    if pushed and not returns.redirect_uri_given:
        raise ProtocolError("invalid_request", "A pushed request names its redirect_uri.")
    response_type = _response_type(issuer, client, asked)
    _check_mode(issuer, client, asked, response_type, returns.response_mode)
    wanted = asked.get("scope", "")
    scope = asked_scope(wanted, clients.askable_scope(issuer, client) if wanted else clients.registered_scope(client))
    if SCOPE in scope and response_type != "code":
        raise ProtocolError("invalid_scope", f"A token for {SCOPE} is earned with a code (response_type=code).")
    challenge = _challenge(issuer, client, asked, response_type)
    nonce = asked.get("nonce")
    if "id_token" in response_type.split() and not nonce:
        raise ProtocolError("invalid_request", "nonce is missing (OpenID Connect Core section 3.2.2.1).")
    prompt = _words(asked, "prompt")
    if not set(prompt) <= set(issuer.offered["prompt_values_supported"]) or ("none" in prompt and len(prompt) > 1):
        raise ProtocolError("invalid_request", "prompt holds something else than it may, or more beside none.")
    return AuthorizationRequest(
        issuer=issuer.name,
        client_id=client.client_id,
        redirect_uri=returns.redirect_uri,
        redirect_uri_given=returns.redirect_uri_given,
        response_type=response_type,
        response_mode=returns.response_mode,
        scope=scope,
        state=returns.state,
        nonce=nonce,
        code_challenge=challenge,
        code_challenge_method="S256" if challenge else None,
        resource=resource.asked(issuer, asked.get("resource", "")),
        prompt=prompt,
        max_age=_max_age(client, asked),
        acr_values=_words(asked, "acr_values") or tuple(client.metadata.get("default_acr_values", ())),
        login_hint=asked.get("login_hint"),
        hinted_subject=hinted,
        ui_locales=_words(asked, "ui_locales"),
        claims=_claims(asked),
        authorization_details=_authorization_details(issuer, client, asked),
        dpop_jkt=_dpop_jkt(asked),
        pushed=pushed,
    )


def _words(asked: Parameters, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(asked.get(name, "").split()))


def _response_type(issuer: Issuer, client: Client, asked: Parameters) -> str:
    """RFC 6749 §3.1.1: a set of words, registered and offered."""
    given = asked.get("response_type")
    if given is None:
        raise ProtocolError("invalid_request", "The parameter response_type is missing.")
    words = frozenset(given.split())
    if words not in map(_as_set, clients.offered_to(issuer, client)["response_types_supported"]):
        raise ProtocolError("unsupported_response_type", "This response type is not offered here.")
    if words not in map(_as_set, client.metadata.get("response_types", ())):
        raise ProtocolError("unauthorized_client", "This client did not register this response type.")
    return " ".join(sorted(words))


def _as_set(response_type: str) -> frozenset[str]:
    return frozenset(response_type.split())


def _check_mode(issuer: Issuer, client: Client, asked: Parameters, response_type: str, mode: str) -> None:
    given = asked.get("response_mode", "")
    if given and given not in clients.offered_to(issuer, client)["response_modes_supported"]:
        raise ProtocolError("invalid_request", "This response mode is not offered here.")
    if response_type != "code" and mode.startswith("query"):
        raise ProtocolError("invalid_request", "A token is never put into a query (OAuth 2.0 Multiple Response Types).")
    if "authorization_signed_response_alg" in client.metadata and not mode.endswith("jwt"):
        raise ProtocolError("invalid_request", "This client registered signed responses; response_mode is jwt.")


def asked_scope(asked: str, registered: Sequence[str]) -> tuple[str, ...]:
    """The scopes of a request: those of the asked ones that are registered, or without a word all but `dcr`.

    `dcr` has to be asked for, and where it is, it comes alone: what registers clients opens nothing else.

    Raises:
        ProtocolError: `invalid_scope`; something was asked for, and nothing of it is registered.
    """
    words = dict.fromkeys(asked.split())
    if not words:
        return tuple(word for word in registered if word != SCOPE)
    granted = tuple(word for word in words if word in registered)
    if not granted:
        held = " ".join(word for word in registered if word != SCOPE) or "none"
        raise ProtocolError("invalid_scope", f"This client may ask for these scopes: {held}.")
    return (SCOPE,) if SCOPE in granted else granted


def _challenge(issuer: Issuer, client: Client, asked: Parameters, response_type: str) -> str | None:
    """RFC 7636 §4.3, RFC 9700 §2.1.1: S256, of public clients always and of others unless the operator relaxes it."""
    challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
    if challenge is None:
        needed = issuer.settings.authorization.pkce is Clients.ALL or clients.is_public(client)
        if method is not None or (needed and "code" in response_type.split()):
            raise ProtocolError("invalid_request", "code_challenge is missing; PKCE is needed here (RFC 7636).")
        return None
    if method != "S256":
        raise ProtocolError(
            "invalid_request", "code_challenge_method is S256 (RFC 7636 section 4.2); plain protects nothing."
        )
    if not _CHALLENGE.fullmatch(challenge):
        raise ProtocolError("invalid_request", "code_challenge is not the base64url of a SHA-256.")
    return challenge


def _max_age(client: Client, asked: Parameters) -> int | None:
    given = asked.get("max_age")
    if given is None:
        registered: int | None = client.metadata.get("default_max_age")
        return registered
    if not _AGE.fullmatch(given):
        raise ProtocolError("invalid_request", "max_age is a number of seconds.")
    return int(given)


async def _hinted(registry: Registry, issuer: Issuer, client: Client, asked: Parameters) -> str | None:
    """The person whom an `id_token_hint` names, as this client knows them (OpenID Connect Core §3.1.2.1)."""
    hint = asked.get("id_token_hint")
    if hint is None:
        return None
    verified = await signing.verify_own(registry, issuer, hint)
    subject = verified.claims.get("sub") if verified else None
    if verified is None or not isinstance(subject, str) or signing.audience(verified.claims) != client.client_id:
        raise ProtocolError("invalid_request", "id_token_hint is not an ID token that this client got here.")
    return subject


def _claims(asked: Parameters) -> dict[str, Any] | None:
    """OpenID Connect Core §5.5."""
    given = asked.get("claims")
    if given is None:
        return None
    try:
        claims = strict_json.read_object(given.encode(), nested=_NESTED)
    except NotStrict as problem:
        raise ProtocolError("invalid_request", f"claims cannot be read: {problem}.") from None
    for part in ("userinfo", "id_token"):
        wanted = claims.get(part, {})
        if not isinstance(wanted, dict) or not all(one is None or isinstance(one, dict) for one in wanted.values()):
            raise ProtocolError("invalid_request", f"{part} of claims is not an object of objects.")
    return claims


def _authorization_details(issuer: Issuer, client: Client, asked: Parameters) -> list[dict[str, Any]] | None:
    """RFC 9396 §2, §5: an array of objects, each of a type that is offered and that the client registered."""
    given = asked.get("authorization_details")
    if given is None:
        return None
    try:
        details = strict_json.read_object(b'{"details":%b}' % given.encode(), nested=_NESTED)["details"]
    except NotStrict as problem:
        raise ProtocolError("invalid_authorization_details", f"They cannot be read: {problem}.") from None
    if not isinstance(details, list) or not details or len(details) > _DETAILS:
        raise ProtocolError("invalid_authorization_details", f"They are an array of 1 to {_DETAILS} objects.")
    offered = clients.offered_to(issuer, client)["authorization_details_types_supported"]
    registered = client.metadata.get("authorization_details_types", ())
    for one in details:
        if not isinstance(one, dict) or one.get("type") not in offered or one.get("type") not in registered:
            raise ProtocolError(
                "invalid_authorization_details", "The type of one is not one that the client registered."
            )
    return details


def _dpop_jkt(asked: Parameters) -> str | None:
    given = asked.get("dpop_jkt")
    if given is not None and not _THUMBPRINT.fullmatch(given):
        raise ProtocolError("invalid_request", "dpop_jkt is not the thumbprint of a key (RFC 9449 section 10).")
    return given
