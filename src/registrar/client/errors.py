"""What can go wrong, as one hierarchy.

    RegistrarClientError
    ├── RequestInvalid                   the caller's input; nothing was sent
    ├── Unreachable                      no answer: connection, TLS, time-out
    ├── TemporarilyUnavailable           429 or 503, with the seconds to wait when the server told them
    ├── DiscoveryError
    │   ├── MetadataNotFound             an address has no metadata document
    │   ├── MetadataInvalid              it has one that must not be used
    │   ├── IssuerMismatch               it has one of another issuer            RFC 8414 §3.3
    │   └── RegistrationNotOffered       the issuer registers nobody dynamically
    ├── RegistrationRefused              with code, description and faults       RFC 7591 §3.2.2
    │   ├── InvalidRedirectURI
    │   ├── InvalidClientMetadata
    │   ├── InvalidSoftwareStatement
    │   └── UnapprovedSoftwareStatement
    ├── BearerRefused                    with the parsed challenge               RFC 6750 §3
    │   ├── InvalidToken
    │   └── InsufficientScope
    ├── RegistrationLost                 401 at the client configuration endpoint: register again
    ├── ManagementNotOffered             this client, or this operation, cannot be managed here
    │   └── ForeignConfigurationEndpoint its address is not one that the token may be sent to
    ├── CredentialStoreError             the stored credentials cannot be trusted or kept
    │   └── CredentialsNotSaved          issued, but not kept: `information` holds the only copy
    └── ProtocolError                    an answer that cannot be read

No message carries a token or a secret, and text that a server sent is stripped of control characters.
"""
# ruff: noqa: N818 -- an exception is named after what happened; the root of the tree says that it is an error

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registrar.client.client_information import ClientInformation


class RegistrarClientError(Exception):
    """Anything that this library raises on its own account."""


class RequestInvalid(RegistrarClientError):
    """The caller asked for something that must not be sent; nothing was."""


class Unreachable(RegistrarClientError):
    """No complete answer came: connection, certificate, or time-out."""


class TemporarilyUnavailable(RegistrarClientError):
    """The server cannot answer now: 429 or 503 (RFC 6585 §4, RFC 9110 §15.6.4)."""

    def __init__(self, status: int, retry_after: int | None) -> None:
        """Keep the seconds to wait, or None when the server did not tell them."""
        wait = "" if retry_after is None else f"; try again in {retry_after} s"
        super().__init__(f"the server answers {status}{wait}")
        self.status = status
        self.retry_after = retry_after


class DiscoveryError(RegistrarClientError):
    """The issuer's metadata gives no registration endpoint that may be used (RFC 8414)."""


class MetadataNotFound(DiscoveryError):
    """The address has no metadata document."""


class MetadataInvalid(DiscoveryError):
    """The metadata document breaks RFC 8414 and must not be used."""


class IssuerMismatch(DiscoveryError):
    """The metadata document names another issuer and must not be used (RFC 8414 §3.3)."""


class RegistrationNotOffered(DiscoveryError):
    """The issuer has no client registration endpoint: its client must be registered by hand."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that the server found wrong, as it reports it for machines."""

    member: str | None
    rule: str | None
    reason: str | None
    accepted: str | None = None

    def __str__(self) -> str:
        """One readable line."""
        line = ": ".join(part for part in (self.member, self.reason or self.rule) if part)
        return f"{line} (accepted: {self.accepted})" if self.accepted else line


class RegistrationRefused(RegistrarClientError):
    """The server refused the client metadata (RFC 7591 §3.2.2)."""

    def __init__(self, code: str, description: str | None, faults: tuple[Fault, ...], status: int) -> None:
        """Keep the error code, its description, the faults and the HTTP status."""
        details = "; ".join(str(fault) for fault in faults)
        super().__init__(": ".join(part for part in (code, description, details) if part))
        self.code = code
        self.description = description
        self.faults = faults
        self.status = status


class InvalidRedirectURI(RegistrationRefused):
    """`invalid_redirect_uri`."""


class InvalidClientMetadata(RegistrationRefused):
    """`invalid_client_metadata`."""


class InvalidSoftwareStatement(RegistrationRefused):
    """`invalid_software_statement`."""


class UnapprovedSoftwareStatement(RegistrationRefused):
    """`unapproved_software_statement`."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The parameters of a Bearer challenge (RFC 6750 §3)."""

    error: str | None = None
    description: str | None = None
    scope: str | None = None
    realm: str | None = None


class BearerRefused(RegistrarClientError):
    """The bearer token was missing, bad, or not enough (RFC 6750 §3.1)."""

    def __init__(self, status: int, challenge: Challenge) -> None:
        """Keep the HTTP status and the challenge; its parameters are None where the server sent none."""
        scope = f"scope {challenge.scope!r} is needed" if challenge.scope else None
        parts = (f"the server answers {status}", challenge.error, challenge.description, scope)
        super().__init__(": ".join(part for part in parts if part))
        self.status = status
        self.challenge = challenge


class InvalidToken(BearerRefused):
    """`invalid_token`: unknown, expired or revoked."""


class InsufficientScope(BearerRefused):
    """`insufficient_scope`: the challenge names the scope that is needed."""


class RegistrationLost(RegistrarClientError):
    """The server knows neither this client nor its registration access token any more (RFC 7592 §2)."""


class ManagementNotOffered(RegistrarClientError):
    """The registration, or the operation asked for, cannot be managed through RFC 7592."""


class ForeignConfigurationEndpoint(ManagementNotOffered):
    """The client configuration endpoint is not at an origin that the registration access token may be sent to."""


class CredentialStoreError(RegistrarClientError):
    """The stored credentials cannot be trusted, read or kept."""


class CredentialsNotSaved(CredentialStoreError):
    """The server issued credentials and the store failed: `information` holds the only copy."""

    def __init__(self, information: ClientInformation) -> None:
        """Keep what was issued, so that the caller can."""
        super().__init__(f"issued by {information.issuer} and not saved; see `information` of this error")
        self.information = information


class ProtocolError(RegistrarClientError):
    """The answer cannot be read as RFC 7591 or RFC 7592 write it."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """Keep the HTTP status, when it is the answer's."""
        super().__init__(message)
        self.status = status
