"""The error table: every error that an endpoint can answer with, its status, and where it comes from.

`http` renders these and nothing else; the reference is generated from the table, and a test reaches every row. The
errors of an authorization request have the status with which the pushed authorization request endpoint answers them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from registrar.domain.findings import Finding


class ErrorKind(msgspec.Struct, frozen=True):
    """A row of the table: `code` is what stands in the `error` member, `name` tells apart rows that share a code."""

    name: str
    code: str
    status: int
    source: str
    meaning: str


def _table(*rows: ErrorKind) -> dict[str, ErrorKind]:
    return {row.name: row for row in rows}


ERRORS: Final = _table(
    ErrorKind(
        "invalid_redirect_uri",
        "invalid_redirect_uri",
        400,
        "RFC 7591 §3.2.2",
        "A redirect URI is missing or breaks a rule.",
    ),
    ErrorKind(
        "invalid_client_metadata",
        "invalid_client_metadata",
        400,
        "RFC 7591 §3.2.2",
        "A member other than a redirect URI breaks a rule, or the body is not one JSON object.",
    ),
    ErrorKind(
        "invalid_webhook_uris",
        "invalid_webhook_uris",
        400,
        "Open Finance Brasil DCR §9.2",
        "A webhook URI breaks a rule.",
    ),
    ErrorKind(
        "invalid_software_statement",
        "invalid_software_statement",
        400,
        "RFC 7591 §3.2.2",
        "The software statement is not valid.",
    ),
    ErrorKind(
        "unapproved_software_statement",
        "unapproved_software_statement",
        400,
        "RFC 7591 §3.2.2",
        "The software statement is valid but not approved here.",
    ),
    ErrorKind(
        "invalid_request",
        "invalid_request",
        400,
        "RFC 6750 §3.1",
        "The request itself is malformed, or lacks what the policy demands beside the metadata: a repeated header or parameter, a missing one, a token in the query, no TLS, no client certificate, or what is no HTTP request.",
    ),
    ErrorKind(
        "token_required",
        "invalid_token",
        401,
        "RFC 6750 §3.1",
        "A bearer token is needed and none was sent; the challenge carries no error code.",
    ),
    ErrorKind(
        "invalid_token",
        "invalid_token",
        401,
        "RFC 6750 §3.1",
        "The bearer token is unknown, expired, spent, revoked, or belongs to another client.",
    ),
    ErrorKind(
        "insufficient_scope",
        "insufficient_scope",
        403,
        "RFC 6750 §3.1",
        "The bearer token is good but not for this: it lacks the scope dcr, or its kind is not admitted in this mode.",
    ),
    ErrorKind(
        "access_denied",
        "access_denied",
        403,
        "RFC 7592 §2",
        "The client is known, but this operation is not open to it, for instance while it is suspended.",
    ),
    ErrorKind("not_found", "not_found", 404, "RFC 9110 §15.5.5", "Nothing is served at this path."),
    ErrorKind(
        "method_not_allowed",
        "invalid_request",
        405,
        "RFC 9110 §15.5.6",
        "The path exists but not with this method; Allow lists those that do.",
    ),
    ErrorKind(
        "conflict",
        "invalid_request",
        409,
        "RFC 9110 §15.5.10",
        "An operator's act makes no sense for the state of things: the name is taken, the version is another.",
    ),
    ErrorKind(
        "precondition_failed",
        "invalid_request",
        412,
        "RFC 9110 §13.1.1",
        "What If-Match names is not what is there by now: another one changed it in between.",
    ),
    ErrorKind("request_timeout", "invalid_request", 408, "RFC 9110 §15.5.9", "The request did not arrive in time."),
    ErrorKind("content_too_large", "invalid_request", 413, "RFC 9110 §15.5.14", "The body is larger than the limit."),
    ErrorKind(
        "unsupported_media_type",
        "invalid_request",
        415,
        "RFC 9110 §15.5.16",
        "The body is not application/json in UTF-8, or at the OAuth endpoints not form-urlencoded, without a content coding.",
    ),
    ErrorKind(
        "server_error",
        "server_error",
        500,
        "RFC 6749 §4.1.2.1",
        "Something unexpected; the identifier in the answer finds it in the log.",
    ),
    ErrorKind(
        "temporarily_unavailable",
        "temporarily_unavailable",
        503,
        "RFC 6749 §4.1.2.1",
        "The store cannot take the request now; Retry-After says when to try again. Nothing was changed.",
    ),
    ErrorKind(
        "too_many_registrations",
        "temporarily_unavailable",
        429,
        "RFC 7591 §3, RFC 6585 §4",
        "A limit is used up; the description says which, and Retry-After when the next request is looked at.",
    ),
    ErrorKind(
        "too_many_clients",
        "access_denied",
        403,
        "RFC 7591 §3",
        "As many clients live as may, and none of them was never used, so that it could make room.",
    ),
    # --- the authorization server ---
    ErrorKind(
        "invalid_client",
        "invalid_client",
        401,
        "RFC 6749 §5.2",
        "The client is unknown, or did not authenticate with its registered method.",
    ),
    ErrorKind(
        "too_many_attempts",
        "temporarily_unavailable",
        429,
        "RFC 6585 §4",
        "Too many failed attempts from this address; Retry-After says when the next one is looked at.",
    ),
    ErrorKind(
        "invalid_grant",
        "invalid_grant",
        400,
        "RFC 6749 §5.2",
        "The code, refresh token or device code is unknown, used, expired, revoked, or was issued to another client.",
    ),
    ErrorKind(
        "unauthorized_client",
        "unauthorized_client",
        400,
        "RFC 6749 §5.2",
        "The client did not register what it uses: a grant type or a response type.",
    ),
    ErrorKind(
        "unsupported_grant_type", "unsupported_grant_type", 400, "RFC 6749 §5.2", "The grant type is not offered here."
    ),
    ErrorKind(
        "unsupported_response_type",
        "unsupported_response_type",
        400,
        "RFC 6749 §4.1.2.1",
        "The response type is not offered here.",
    ),
    ErrorKind(
        "invalid_scope",
        "invalid_scope",
        400,
        "RFC 6749 §5.2",
        "None of the scopes is one that the client registered or that was granted.",
    ),
    ErrorKind(
        "invalid_target", "invalid_target", 400, "RFC 8707 §2", "The resource is not one that tokens are issued for."
    ),
    ErrorKind(
        "invalid_authorization_details",
        "invalid_authorization_details",
        400,
        "RFC 9396 §5",
        "The authorization details are malformed, or of a type that the client did not register.",
    ),
    ErrorKind(
        "invalid_request_object",
        "invalid_request_object",
        400,
        "RFC 9101 §6",
        "The request object is missing where it is needed, or is not valid.",
    ),
    ErrorKind(
        "invalid_request_uri",
        "invalid_request_uri",
        400,
        "RFC 9101 §6",
        "The request URI is unknown, used, expired, not registered, or does not lead to the request object.",
    ),
    ErrorKind(
        "invalid_dpop_proof", "invalid_dpop_proof", 400, "RFC 9449 §5", "The DPoP proof is missing or not valid."
    ),
    ErrorKind(
        "use_dpop_nonce",
        "use_dpop_nonce",
        400,
        "RFC 9449 §8",
        "The DPoP proof needs the nonce that the header DPoP-Nonce of this answer gives.",
    ),
    ErrorKind(
        "proof_refused",
        "invalid_dpop_proof",
        401,
        "RFC 9449 §7.1",
        "The DPoP proof that has to come with an access token is missing or not valid.",
    ),
    ErrorKind(
        "proof_without_nonce",
        "use_dpop_nonce",
        401,
        "RFC 9449 §9",
        "The DPoP proof beside an access token needs the nonce that the header DPoP-Nonce of this answer gives.",
    ),
    ErrorKind(
        "authorization_pending",
        "authorization_pending",
        400,
        "RFC 8628 §3.5",
        "The person has not decided yet; ask again after the interval.",
    ),
    ErrorKind(
        "slow_down", "slow_down", 400, "RFC 8628 §3.5", "The device asks too often; add 5 seconds to the interval."
    ),
    ErrorKind("expired_token", "expired_token", 400, "RFC 8628 §3.5", "The device code has expired; begin anew."),
    ErrorKind(
        "declined", "access_denied", 400, "RFC 6749 §4.1.2.1", "The person, or the server, declined the request."
    ),
    ErrorKind("login_required", "login_required", 400, "OpenID Connect Core §3.1.2.6", "A sign-in is needed first."),
    ErrorKind(
        "consent_required", "consent_required", 400, "OpenID Connect Core §3.1.2.6", "The person has to be asked first."
    ),
)


class ProtocolError(Exception):
    """A request that is answered with an error: a row of the table and a sentence.

    Args:
        kind: the name of a row of `ERRORS`.
        description: an ASCII sentence for the developer of the client.
    """

    def __init__(self, kind: str, description: str = "", *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.kind = ERRORS[kind]
        self.description = description or self.kind.meaning
        self.headers = tuple(headers)
        super().__init__(self.description)


class RegistrationError(ProtocolError):
    """A registration or an update that was refused, with every fault that was found (RFC 7591 §3.2.2).

    Args:
        findings: all findings of the decision; at least one of them refuses.
        requested: what was presented, for the audit.
        token_id: the initial access token that admitted the caller, for the audit.
    """

    def __init__(
        self, findings: Sequence[Finding], *, requested: Mapping[str, Any] | None = None, token_id: str = ""
    ) -> None:
        self.findings = tuple(findings)
        self.requested, self.token_id = requested or {}, token_id
        self.faults = tuple(finding for finding in findings if finding.error)
        # A bad redirect URI is the fault that endangers people, so it names the error when there are several.
        codes = [fault.error for fault in self.faults]
        code = min(codes, key=_PRECEDENCE.index)
        first = self.faults[codes.index(code)]
        more = f" ({len(codes) - 1} more in faults)" if len(codes) > 1 else ""
        accepted = f" Accepted: {first.accepted}." if first.accepted else ""
        super().__init__(code, f"{first.member}: {first.reason}.{accepted}{more}")


_PRECEDENCE: Final = (
    "invalid_request",
    "invalid_software_statement",
    "unapproved_software_statement",
    "invalid_redirect_uri",
    "invalid_webhook_uris",
    "invalid_client_metadata",
)


class BearerError(ProtocolError):
    """A bearer token that is missing, malformed, bad or insufficient (RFC 6750 §3); the answer carries a challenge."""

    def __init__(
        self,
        kind: str,
        description: str = "",
        *,
        scope: str = "",
        realm: str = "registration",
        scheme: str = "Bearer",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(kind, description, headers=headers)
        self.scope, self.realm, self.scheme = scope, realm, scheme
