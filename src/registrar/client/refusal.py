"""Answers that refuse, read into the errors that they mean."""

from __future__ import annotations

import re
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from registrar.client.errors import (
    BearerRefused,
    Challenge,
    Fault,
    InsufficientScope,
    InvalidClientMetadata,
    InvalidRedirectURI,
    InvalidSoftwareStatement,
    InvalidToken,
    ManagementNotOffered,
    ProtocolError,
    RegistrarClientError,
    RegistrationLost,
    RegistrationNotOffered,
    RegistrationRefused,
    TemporarilyUnavailable,
    UnapprovedSoftwareStatement,
)
from registrar.client.message import Response, read_object, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 7591 §3.2.2
_REGISTRATION: Final[Mapping[str | None, type[RegistrationRefused]]] = {
    "invalid_redirect_uri": InvalidRedirectURI,
    "invalid_client_metadata": InvalidClientMetadata,
    "invalid_software_statement": InvalidSoftwareStatement,
    "unapproved_software_statement": UnapprovedSoftwareStatement,
}
# RFC 6750 §3.1; invalid_request is left out: without a challenge it is a registration's error in the field.
_BEARER: Final[Mapping[str | None, type[BearerRefused]]] = {
    "invalid_token": InvalidToken,
    "insufficient_scope": InsufficientScope,
}
# RFC 9110 §11.2: a parameter, or else the name of a scheme, which begins the next challenge.
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 -- the token of HTTP's grammar
_CHALLENGE_PART: Final = re.compile(
    rf'(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))|(?P<scheme>{_TOKEN})'
)
_LONGEST_WAIT_DIGITS: Final = 9
_LONGEST_LIST: Final = 2000


def refusal(response: Response) -> RegistrarClientError:
    """The error that an answer of the client registration endpoint means (RFC 7591 §3.2.2)."""
    status = response.status
    if status in (429, 503):
        return TemporarilyUnavailable(status, retry_after(response.headers))
    members = _members(response)
    code = shown(members.get("error"))
    description = shown(members.get("error_description"))
    challenge = bearer_challenge(response.headers.get("www-authenticate", ""))
    challenged = challenge is not None and challenge.error is not None
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    # Some servers give a registration's error under 401 or 403; a challenge with an error speaks of the token instead.
    if code in _REGISTRATION and refused and not challenged:
        return _REGISTRATION[code](str(code), description, _faults(members), status)
    about_the_bearer = challenged or code in _BEARER
    if status in (401, 403) or (status == HTTPStatus.BAD_REQUEST and about_the_bearer):
        challenge = challenge or Challenge()
        if not challenged:
            challenge = replace(challenge, error=code, description=description)
        return _BEARER.get(challenge.error, BearerRefused)(status, challenge)
    if status == HTTPStatus.NOT_FOUND:
        return RegistrationNotOffered("the registration endpoint answers 404")
    if code is not None and refused:
        return RegistrationRefused(code, description, _faults(members), status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ProtocolError(f"the server redirects ({status}), which is never followed", status)
    return ProtocolError(f"the server answers {status} without an error that can be read", status)


def management_refusal(response: Response) -> RegistrarClientError:
    """The error that an answer of the client configuration endpoint means (RFC 7592 §2)."""
    if response.status == HTTPStatus.UNAUTHORIZED:
        return RegistrationLost("the configuration endpoint answers 401: neither client nor token is known any more")
    # 404 is not a lost registration: it is what servers answer that advertise an endpoint which they do not have,
    # and a client that took it for a loss would register anew at each of its starts.
    if response.status in (404, 405, 410, 501):
        return ManagementNotOffered(f"the configuration endpoint answers {response.status}")
    error = refusal(response)
    if isinstance(error, InvalidToken):
        return RegistrationLost(f"the configuration endpoint answers: {error}")
    if isinstance(error, BearerRefused) and response.status == HTTPStatus.FORBIDDEN:
        return ManagementNotOffered(f"the operation is not permitted: {error}")
    return error


def bearer_challenge(header: str) -> Challenge | None:
    """The Bearer challenge among those of a WWW-Authenticate field (RFC 9110 §11.6.1), or None."""
    scheme = ""
    parameters: dict[str, str] | None = None
    for part in _CHALLENGE_PART.finditer(header):
        if part["scheme"] is not None:
            scheme = part["scheme"].lower()
            if scheme == "bearer" and parameters is None:
                parameters = {}
        elif scheme == "bearer" and parameters is not None:
            value = part["plain"] if part["quoted"] is None else re.sub(r"\\(.)", r"\1", part["quoted"])
            parameters.setdefault(part["name"].lower(), value)
    if parameters is None:
        return None
    read = {name: shown(value) for name, value in parameters.items()}
    return Challenge(read.get("error"), read.get("error_description"), read.get("scope"), read.get("realm"))


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Seconds to wait (RFC 9110 §10.2.3); a date counts from the server's own clock, so ours may be wrong."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return int(value[:_LONGEST_WAIT_DIGITS])
    try:
        until = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(0, int(until.total_seconds()))


def _members(response: Response) -> Mapping[str, Any]:
    """The error object, or nothing where a proxy has put a page in its place."""
    try:
        return read_object(response)
    except ProtocolError:
        return {}


def _faults(members: Mapping[str, Any]) -> tuple[Fault, ...]:
    faults = members.get("faults")
    if not isinstance(faults, list):
        return ()
    return tuple(
        Fault(shown(fault.get("member")), shown(fault.get("rule")), shown(fault.get("reason")), _accepted(fault))
        for fault in faults
        if isinstance(fault, dict)
    )


def _accepted(fault: Mapping[str, Any]) -> str | None:
    """What would be accepted, in words; other servers give an array of values."""
    accepted = fault.get("accepted")
    if isinstance(accepted, list):
        accepted = ", ".join(value for value in accepted if isinstance(value, str))
    # A list of all that a server offers is cut later than a sentence is: its end may be what the client needs.
    return shown(accepted, _LONGEST_LIST)
