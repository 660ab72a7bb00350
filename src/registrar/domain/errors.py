"""The error table: every error that an endpoint can answer with, its status, and where it comes from.

`http` renders these and nothing else; the reference is generated from the table, and a test reaches every row.
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
        "The request itself is malformed, or lacks what the policy demands beside the metadata: a repeated header, a token in the query, no TLS, no client certificate, or what is no HTTP request.",
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
    ErrorKind("request_timeout", "invalid_request", 408, "RFC 9110 §15.5.9", "The request did not arrive in time."),
    ErrorKind("content_too_large", "invalid_request", 413, "RFC 9110 §15.5.14", "The body is larger than the limit."),
    ErrorKind(
        "unsupported_media_type",
        "invalid_request",
        415,
        "RFC 9110 §15.5.16",
        "The body is not application/json in UTF-8 without a content coding.",
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

    def __init__(self, kind: str, description: str = "", *, scope: str = "") -> None:
        super().__init__(kind, description)
        self.scope = scope
