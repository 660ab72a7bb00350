"""Discovery, registration and management as pure pairs: `build_*` makes the request, `read_*` reads its answer.

Nothing here sends, waits, stores or knows the time; any HTTP library can carry the messages.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from registrar.client.client_information import ClientInformation, is_unset
from registrar.client.errors import (
    ForeignConfigurationEndpoint,
    IssuerMismatch,
    ManagementNotOffered,
    MetadataInvalid,
    MetadataNotFound,
    ProtocolError,
    RegistrationNotOffered,
    RequestInvalid,
    TemporarilyUnavailable,
)
from registrar.client.message import Request, Response, json_request, read_object, shown, url_fault
from registrar.client.refusal import management_refusal, refusal, retry_after

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# RFC 7592 §2.2: what an update request must not contain.
_NOT_IN_UPDATES: Final = frozenset(
    {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
)
# RFC 7591 §3.2.1: what the server issues and a client does not choose (§6).
_ISSUED: Final = _NOT_IN_UPDATES | {"client_id", "client_secret"}
# RFC 7518 §6: members of private and of symmetric keys; each private key has one of them.
_KEY_SECRETS: Final = frozenset({"d", "k"})

_VALIDATED: Final = object()


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Authorization server metadata that may be acted on (RFC 8414 §2).

    The type is the proof. `read_discovery` makes one, after it has compared the issuer that the caller named, and
    `trusted` makes one of what an operator has configured. Nothing else can, so that a registration endpoint found in
    a prompt, a page or another server's answer never reaches `build_register`.
    """

    issuer: str
    registration_endpoint: str | None
    members: Mapping[str, Any] = field(repr=False)
    validated: InitVar[object]

    def __post_init__(self, validated: object) -> None:
        """Refuse to exist without the proof."""
        if validated is not _VALIDATED:
            raise TypeError("ServerMetadata comes from read_discovery() or ServerMetadata.trusted()")

    @classmethod
    def trusted(cls, issuer: str, *, registration_endpoint: str | None = None) -> ServerMetadata:
        """Metadata that the operator of this client vouches for, instead of discovery.

        Raises:
            RequestInvalid: An address is neither https nor on this machine.
        """
        fault = url_fault(issuer)
        if fault is None and registration_endpoint is not None:
            fault = url_fault(registration_endpoint)
        if fault is not None:
            raise RequestInvalid(f"the configured issuer or endpoint cannot be used: {fault}")
        return cls(issuer, registration_endpoint, MappingProxyType({}), _VALIDATED)

    def offered_registration_endpoint(self) -> str:
        """The registration endpoint, which is optional in metadata; none is guessed.

        Raises:
            RegistrationNotOffered: There is none.
        """
        if self.registration_endpoint is None:
            raise RegistrationNotOffered(f"{self.issuer} has no registration endpoint")
        return self.registration_endpoint


def build_discovery(issuer: str) -> tuple[Request, ...]:
    """Where an issuer's metadata may be, in the order to ask (RFC 8414 §3.1 and §5, OpenID Connect Discovery §4).

    Raises:
        RequestInvalid: The issuer is no https URL without query and fragment (RFC 8414 §2).
    """
    fault = url_fault(issuer)
    if fault is not None or "?" in issuer:
        raise RequestInvalid(f"the issuer cannot be used: {fault or 'it has a query'}")
    parts = urlsplit(issuer)
    host, path = f"{parts.scheme}://{parts.netloc}", parts.path.removesuffix("/")
    addresses = (
        f"{host}/.well-known/oauth-authorization-server{path}",
        f"{host}/.well-known/openid-configuration{path}",
        f"{host}{path}/.well-known/openid-configuration",
    )
    return tuple(json_request("GET", address) for address in dict.fromkeys(addresses))


def read_discovery(issuer: str, response: Response) -> ServerMetadata:
    """The metadata of exactly this issuer.

    Raises:
        MetadataNotFound: The address has no document.
        MetadataInvalid: It breaks RFC 8414 §2.
        IssuerMismatch: It is another issuer's, by one code point or more (RFC 8414 §3.3).
        TemporarilyUnavailable: The server asks to be left alone for now.
    """
    if response.status in (429, 503):
        raise TemporarilyUnavailable(response.status, retry_after(response.headers))
    if response.status != HTTPStatus.OK:
        raise MetadataNotFound(f"the server answers {response.status}")
    try:
        document = read_object(response)
    except ProtocolError as error:
        raise MetadataInvalid(str(error)) from error
    found = document.get("issuer")
    if not isinstance(found, str):
        raise MetadataInvalid("the metadata names no issuer")
    if found != issuer:
        raise IssuerMismatch(f"asked for {issuer!r}, the metadata is that of {shown(found)!r}")
    members = {name: value for name, value in document.items() if not is_unset(value)}
    for name, value in members.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            _require_endpoint(issuer, name, value)
    return ServerMetadata(issuer, members.get("registration_endpoint"), MappingProxyType(members), _VALIDATED)


def _require_endpoint(issuer: str, name: str, value: object) -> None:
    fault = url_fault(value)
    # A remote issuer has no say over what is posted to services of this machine.
    if fault is None and str(value).startswith("http:") and issuer.startswith("https:"):
        fault = "plain http at an https issuer"
    if fault is not None:
        raise MetadataInvalid(f"{shown(name)} cannot be used: {fault}")


def build_register(
    metadata: ServerMetadata, client_metadata: Mapping[str, Any], *, initial_access_token: str | None = None
) -> Request:
    """The client registration request (RFC 7591 §3.1); unset members are left out.

    Raises:
        RegistrationNotOffered: The issuer's metadata has no registration endpoint; none is guessed.
        RequestInvalid: The metadata may not be sent as it is.
    """
    endpoint = metadata.offered_registration_endpoint()
    _require_not_issued(client_metadata)
    members = {name: value for name, value in client_metadata.items() if not is_unset(value)}
    _require_sound_keys(members)
    return json_request("POST", endpoint, token=initial_access_token, members=members)


def read_registration(metadata: ServerMetadata, response: Response) -> ClientInformation:
    """The client as it was registered (RFC 7591 §3.2.1), which may differ from what was requested.

    Raises:
        RegistrationRefused: The client metadata was refused.
        BearerRefused: The initial access token was missing, bad, or not enough.
        RegistrationNotOffered: There is no endpoint at the address.
        TemporarilyUnavailable: The server cannot answer now.
        ProtocolError: The answer cannot be read.
    """
    if response.status not in (200, 201):  # RFC 7591 §3.2.1 says 201; older servers answer 200
        raise refusal(response)
    return ClientInformation(metadata.issuer, metadata.offered_registration_endpoint(), read_object(response))


def build_read(information: ClientInformation, *, allowed_origins: Collection[str] = ()) -> Request:
    """The client read request (RFC 7592 §2.1).

    Raises:
        ManagementNotOffered: The registration came without address or token, or the address is foreign.
    """
    return _management_request("GET", information, allowed_origins)


def read_read(information: ClientInformation, response: Response) -> ClientInformation:
    """The client as it is registered now; a token or secret in the answer replaces the one before.

    Raises:
        RegistrationLost: Neither client nor token is known any more.
        ManagementNotOffered: The operation does not exist or is not permitted.
        TemporarilyUnavailable: The server cannot answer now.
        ProtocolError: The answer cannot be read, or is about another client.
    """
    if response.status != HTTPStatus.OK:
        raise management_refusal(response)
    answer = replace(information, members=read_object(response), lost=False)
    if answer.client_id != information.client_id:
        raise ProtocolError("the answer is about another client", response.status)
    # Servers that keep only digests leave unchanged credentials out (OpenID Connect Registration §4.3).
    kept = ["registration_access_token", "registration_client_uri"]
    method = "token_endpoint_auth_method"
    # A secret that goes with another way of authenticating has been revoked, not left out.
    if "client_secret" not in answer.members and answer.members.get(method) == information.members.get(method):
        kept += ["client_secret", "client_secret_expires_at"]
    former = {name: information.members[name] for name in kept if name in information.members}
    return replace(answer, members=former | dict(answer.members))


def build_update(
    information: ClientInformation, changes: Mapping[str, Any], *, allowed_origins: Collection[str] = ()
) -> Request:
    """The client update request: all that is registered, with the changes; an unset value deletes (RFC 7592 §2.2).

    Raises:
        ManagementNotOffered: The registration came without address or token, or the address is foreign.
        RequestInvalid: The result may not be sent.
    """
    _require_not_issued(changes)
    members = {name: value for name, value in information.members.items() if name not in _NOT_IN_UPDATES}
    members |= changes
    members = {name: value for name, value in members.items() if name not in changes or not is_unset(value)}
    _require_sound_keys(members)
    return _management_request("PUT", information, allowed_origins, members)


def read_update(information: ClientInformation, response: Response) -> ClientInformation:
    """The client as it was registered by the update; reads as `read_read` does.

    Raises:
        RegistrationRefused: The metadata was refused and nothing has changed.
        RegistrationLost: Neither client nor token is known any more.
        ManagementNotOffered: The operation does not exist or is not permitted.
        TemporarilyUnavailable: The server cannot answer now.
        ProtocolError: The answer cannot be read, or is about another client.
    """
    return read_read(information, response)


def build_delete(information: ClientInformation, *, allowed_origins: Collection[str] = ()) -> Request:
    """The client delete request (RFC 7592 §2.3).

    Raises:
        ManagementNotOffered: The registration came without address or token, or the address is foreign.
    """
    return _management_request("DELETE", information, allowed_origins)


def read_delete(response: Response) -> None:
    """Return when the client is deleted.

    Raises:
        RegistrationLost: It was gone before.
        ManagementNotOffered: The operation does not exist or is not permitted.
        TemporarilyUnavailable: The server cannot answer now.
        ProtocolError: The answer cannot be read.
    """
    if response.status not in (200, 204):
        raise management_refusal(response)


def _management_request(
    method: str,
    information: ClientInformation,
    allowed_origins: Collection[str],
    members: Mapping[str, Any] | None = None,
) -> Request:
    uri, token = information.registration_client_uri, information.registration_access_token
    if uri is None or token is None:
        raise ManagementNotOffered(f"{information.issuer} gave no configuration endpoint and token for this client")
    fault = information.configuration_endpoint_fault(allowed_origins)
    if fault is not None:
        raise ForeignConfigurationEndpoint(f"the configuration endpoint cannot be used: {fault}")
    return json_request(method, uri, token=token, members=members)


def _require_not_issued(members: Mapping[str, Any]) -> None:
    issued = sorted(_ISSUED & members.keys())
    if issued:
        raise RequestInvalid(f"the server issues these, a client does not choose them: {', '.join(issued)}")


def _require_sound_keys(members: Mapping[str, Any]) -> None:
    jwks = members.get("jwks")
    if jwks is None:
        return
    if "jwks_uri" in members:
        raise RequestInvalid("jwks and jwks_uri exclude each other (RFC 7591 §2); jwks_uri is the better one")
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if isinstance(keys, list) and any(isinstance(key, dict) and _KEY_SECRETS & key.keys() for key in keys):
        raise RequestInvalid("jwks holds a private or symmetric key; only public keys are registered")
