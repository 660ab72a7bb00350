"""Client authentication (RFC 6749 §2.3, OpenID Connect Core §9, RFC 8705 §2): by the registered method and no other."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import unquote_plus

import msgspec

from registrar.authorization import assertion, client_keys, clients
from registrar.authorization.assertion import NotProved
from registrar.authorization.call import Call
from registrar.domain import certificate as certificates
from registrar.domain import jwks
from registrar.domain.certificate import Certificate
from registrar.domain.client import Client, State
from registrar.domain.coherence import TLS_SUBJECTS
from registrar.domain.errors import ProtocolError
from registrar.domain.jws import UnverifiedJWS
from registrar.service import attempts, parts, sweep
from registrar.service.audit import Caller
from registrar.service.key_sets import KeysUnavailable
from registrar.service.registry import Issuer, Registry

_BASIC: Final = (b"www-authenticate", b'Basic realm="client", charset="UTF-8"')


class Shown(msgspec.Struct, frozen=True):
    """What a request shows of its client: who it says to be, by which kind of method, and the secret of it."""

    client_id: str
    kind: str
    """`none` (nothing, or a certificate alone), `client_secret_basic`, `client_secret_post` or `assertion`."""
    secret: str = ""
    assertion: UnverifiedJWS | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Shown({self.kind!r})"


async def authenticate(registry: Registry, issuer: Issuer, call: Call, now: int) -> Client:
    """The client that sends a request, authenticated by the method that it registered; a public one may be dormant.

    Raises:
        ProtocolError: `invalid_client`; `invalid_request` where it shows two methods at once; `too_many_attempts`;
            `access_denied` while it is suspended.
        StoreUnavailable: the store does not answer.
    """
    shown = read(call)
    who = ("client", issuer.name, shown.client_id, attempts.network(call.address))
    tried = await registry.attempts.of(who, now)
    # Who has failed so often is counted before anything is looked at, so that of many at once one is; nobody else pays for it.
    counted = tried.failures >= attempts.FREE
    if wait := await registry.attempts.took([who], now) if counted else 0:
        raise ProtocolError("too_many_attempts", headers=[(b"retry-after", str(wait).encode())])
    try:
        client = await _authenticated(registry, issuer, call, shown, now)
    except ProtocolError as error:
        if error.kind.name == "invalid_client" and not counted:
            await registry.attempts.failed(who, now)
        raise
    if tried.failures:
        await registry.attempts.succeeded(who, now)
    if not clients.is_public(client):  # to name a public client is nobody's use of it; what it gets may be
        client = await sweep.used(registry, issuer, client, Caller(call.endpoint, address=call.address))
    if client.state is State.PENDING:
        raise ProtocolError("access_denied", "This client waits for its operator's review. Do not register anew.")
    if not client.in_reach:
        raise ProtocolError(
            "access_denied", "This client is suspended; its operator can tell why. Do not register anew."
        )
    return client


def read(call: Call) -> Shown:
    """What a request shows of its client; one method and no more (RFC 6749 §2.3).

    Raises:
        ProtocolError: `invalid_request` or `invalid_client`.
    """
    given = call.parameters
    named = given.get("client_id", "")
    basic = call.authorization[:6].lower() == "basic "
    assertive = "client_assertion" in given or "client_assertion_type" in given
    if basic + ("client_secret" in given) + assertive > 1:
        raise ProtocolError(
            "invalid_request", "A client authenticates with one method at a time (RFC 6749 section 2.3)."
        )
    if basic:
        client_id, secret = _credentials(call.authorization)
        shown = Shown(client_id, "client_secret_basic", secret)
    elif assertive:
        shown = _asserted(call)
    elif "client_secret" in given:
        shown = Shown(named, "client_secret_post", given["client_secret"])
    else:
        shown = Shown(named, "none")
    if not shown.client_id:
        raise refusal("The request does not say which client sends it: client_id is missing.")
    if named and named != shown.client_id:
        raise ProtocolError("invalid_request", "client_id names another client than the one that authenticates.")
    return shown


def _credentials(header: str) -> tuple[str, str]:
    """RFC 6749 §2.3.1: identifier and secret are each form-urlencoded before they are joined."""
    try:
        joined = base64.b64decode(header[6:].strip(), validate=True).decode("utf-8")
        client_id, colon, secret = joined.partition(":")
        if colon:
            return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:  # binascii.Error and UnicodeDecodeError are such
        pass
    raise refusal(
        "The Authorization header holds no Basic credentials of the form of RFC 6749 section 2.3.1.", basic=True
    )


def _asserted(call: Call) -> Shown:
    try:
        unverified = assertion.read(call.parameters)
    except NotProved as problem:
        raise refusal(str(problem)) from None
    subject = unverified.claims.get("sub")
    return Shown(subject if isinstance(subject, str) else "", "assertion", assertion=unverified)


def refusal(description: str, *, basic: bool = False) -> ProtocolError:
    """The refusal of a client; with a challenge where the Authorization header was used (RFC 6749 §5.2)."""
    return ProtocolError("invalid_client", description, headers=[_BASIC] if basic else [])


async def _authenticated(registry: Registry, issuer: Issuer, call: Call, shown: Shown, now: int) -> Client:
    basic = shown.kind == "client_secret_basic"
    client = await clients.arriving(registry, issuer, shown.client_id, Caller(call.endpoint, address=call.address))
    if client is None:
        where = f" A client registers at {issuer.registration_endpoint}." if issuer.enabled else ""
        raise refusal(f"There is no such client here, or there is no more.{where}", basic=basic)
    method = client.metadata.get("token_endpoint_auth_method", "client_secret_basic")
    if shown.kind not in (method, _KINDS.get(method)):
        raise refusal(f"This client registered {method} and authenticates with nothing else.", basic=basic)
    await _METHODS[method](registry, issuer, call, client, shown, now)
    return client


Method = Callable[[Registry, Issuer, Call, Client, Shown, int], Awaitable[None]]


async def _none(_registry: Registry, _issuer: Issuer, _call: Call, _client: Client, _shown: Shown, _now: int) -> None:
    """A public client is identified, not authenticated."""


async def _secret(_registry: Registry, _issuer: Issuer, _call: Call, client: Client, shown: Shown, now: int) -> None:
    if not client.credentials.secret_is(shown.secret, now):
        raise refusal("The client secret is wrong or has expired.", basic=shown.kind == "client_secret_basic")


async def _assertion(registry: Registry, issuer: Issuer, _call: Call, client: Client, shown: Shown, now: int) -> None:
    assert shown.assertion is not None
    try:
        await assertion.verify(registry, issuer, client, shown.assertion, now)
    except NotProved as problem:
        raise refusal(str(problem)) from None


async def _tls(_registry: Registry, issuer: Issuer, call: Call, client: Client, _shown: Shown, now: int) -> None:
    """RFC 8705 §2.1: the certificate has the registered name, and an authority that is trusted here vouches for it.

    A proxy may let self-signed certificates through, for clients that registered the other method.
    """
    presented = _certificate(call, now)
    if parts.vouched(issuer, Caller(call.endpoint, certificate=presented, chain=call.chain), now) is None:
        raise refusal("No authority that is trusted here vouches for the client certificate.")
    if not any(name in client.metadata and _named(presented, name, client.metadata[name]) for name in TLS_SUBJECTS):
        raise refusal("The client certificate has another subject than the registered one.")


def _named(presented: Certificate, name: str, registered: str) -> bool:
    if name == "tls_client_auth_subject_dn":
        return certificates.names_match(registered, presented)
    if name == "tls_client_auth_san_dns":
        return registered.lower() in map(str.lower, presented.dns)
    names = {
        "tls_client_auth_san_uri": presented.uri,
        "tls_client_auth_san_ip": presented.ip,
        "tls_client_auth_san_email": presented.email,
    }
    return registered in names[name]


async def _self_signed_tls(
    registry: Registry, _issuer: Issuer, call: Call, client: Client, _shown: Shown, now: int
) -> None:
    """RFC 8705 §2.2: the certificate holds a registered key; who signed it does not matter."""
    presented = _certificate(call, now)
    try:
        keys = await client_keys.public(registry, client, None)
    except KeysUnavailable as problem:
        raise refusal(f"The client certificate cannot be compared: {problem.reason}.") from None
    held = [der for der in (jwks.public_key(dict(key)) for key in keys) if der is not None]
    if presented.public_key_thumbprint not in map(certificates.thumbprint, held):
        raise refusal("The client certificate holds none of the registered keys.")


def _certificate(call: Call, now: int) -> Certificate:
    if call.certificate is None:
        raise refusal("This client authenticates with a certificate, and none was presented.")
    if not call.certificate.valid_at(now):
        raise refusal("The client certificate has expired or is not valid yet.")
    return call.certificate


_KINDS: Final[Mapping[str, str]] = {
    "client_secret_jwt": "assertion",
    "private_key_jwt": "assertion",
    "tls_client_auth": "none",
    "self_signed_tls_client_auth": "none",
}
"""Method -> what a request shows of it, where that has another name."""

_METHODS: Final[Mapping[str, Method]] = {
    "none": _none,
    "client_secret_basic": _secret,
    "client_secret_post": _secret,
    "client_secret_jwt": _assertion,
    "private_key_jwt": _assertion,
    "tls_client_auth": _tls,
    "self_signed_tls_client_auth": _self_signed_tls,
}
