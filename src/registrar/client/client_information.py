"""The client information response as a value (RFC 7591 §3.2.1, RFC 7592 §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from registrar.client.errors import ProtocolError
from registrar.client.message import origin, url_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

CREDENTIALS: Final = ("client_secret", "registration_access_token")
_STRINGS: Final = ("client_id", *CREDENTIALS, "registration_client_uri")
_TIMES: Final = ("client_id_issued_at", "client_secret_expires_at")
_LONGEST_TIME: Final = 15


class Note(StrEnum):
    """Something in an answer that the RFCs do not allow and that can be lived with."""

    TOKEN_WITHOUT_CONFIGURATION_ENDPOINT = "registration_access_token without registration_client_uri"  # noqa: S105 -- words about it
    CONFIGURATION_ENDPOINT_WITHOUT_TOKEN = "registration_client_uri without registration_access_token"  # noqa: S105 -- words about it
    FOREIGN_CONFIGURATION_ENDPOINT = "registration_client_uri at another origin than the registration endpoint"
    SECRET_WITHOUT_EXPIRY = "client_secret without client_secret_expires_at"  # noqa: S105 -- words about it


class Secret(str):
    """A string that does not show itself in a repr, so neither in logs of containers nor in tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        """The same for every secret."""
        return "'[redacted]'"


@dataclass(frozen=True, slots=True)
class Difference:
    """A member that was registered otherwise than requested; `registered` is None when it was not at all."""

    member: str
    requested: Any
    registered: Any


@dataclass(frozen=True, slots=True)
class ClientInformation:
    """One client as its issuer has registered it.

    `members` is the answer with null and "" read as absent (RFC 7592 §2.2) and a `scope` array as one string.
    `lost` tells that the configuration endpoint has answered 401 since.

    Raises:
        ProtocolError: A member that the protocol rests on has the wrong form.
    """

    issuer: str
    registration_endpoint: str
    members: Mapping[str, Any]
    lost: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Read the members, however they came: from an answer or from a store."""
        members = {name: value for name, value in self.members.items() if value is not None and value != ""}
        for name in _STRINGS:
            if not isinstance(members.get(name, ""), str):
                raise ProtocolError(f"{name} is not a string")
        if "client_id" not in members:
            raise ProtocolError("the answer has no client_id")
        for name in CREDENTIALS:
            if name in members:
                members[name] = Secret(members[name])
        for name in _TIMES:
            if name in members:
                members[name] = _seconds(members[name])
        scope = members.get("scope")
        if isinstance(scope, list) and all(isinstance(value, str) for value in scope):
            members["scope"] = " ".join(scope) or None
        members = {name: value for name, value in members.items() if value is not None}
        object.__setattr__(self, "members", MappingProxyType(members))

    @property
    def client_id(self) -> str:
        """The client identifier."""
        return str(self.members["client_id"])

    @property
    def client_secret(self) -> str | None:
        """The secret, for clients that have one."""
        return self.members.get("client_secret")

    @property
    def client_secret_expires_at(self) -> int | None:
        """Seconds since 1970; 0 is never; None when the server did not tell."""
        return self.members.get("client_secret_expires_at")

    @property
    def registration_access_token(self) -> str | None:
        """The token for the client configuration endpoint (RFC 7592 §3)."""
        return self.members.get("registration_access_token")

    @property
    def registration_client_uri(self) -> str | None:
        """The client configuration endpoint, as the server wrote it (RFC 7592 §3)."""
        return self.members.get("registration_client_uri")

    @property
    def notes(self) -> tuple[Note, ...]:
        """What in the answer departs from the RFCs."""
        token, uri = self.registration_access_token, self.registration_client_uri
        found = {
            Note.TOKEN_WITHOUT_CONFIGURATION_ENDPOINT: token is not None and uri is None,
            Note.CONFIGURATION_ENDPOINT_WITHOUT_TOKEN: token is None and uri is not None,
            Note.FOREIGN_CONFIGURATION_ENDPOINT: uri is not None and self.configuration_endpoint_fault() is not None,
            Note.SECRET_WITHOUT_EXPIRY: self.client_secret is not None and self.client_secret_expires_at is None,
        }
        return tuple(note for note, present in found.items() if present)

    def configuration_endpoint_fault(self, allowed_origins: Collection[str] = ()) -> str | None:
        """Why the registration access token may not be sent to `registration_client_uri`, or None (RFC 7592 §5)."""
        uri = self.registration_client_uri
        fault = url_fault(uri)
        if uri is None or fault is not None:
            return fault
        if origin(uri) in {origin(url) for url in (self.registration_endpoint, *allowed_origins)}:
            return None
        return "it is at another origin than the registration endpoint"

    def differences(self, requested: Mapping[str, Any]) -> tuple[Difference, ...]:
        """The requested members that were registered otherwise: the client must look (RFC 7591 §3.2.1).

        The order of an array's strings and of a scope's words does not count.
        """
        return tuple(
            Difference(name, value, self.members.get(name))
            for name, value in requested.items()
            if not is_unset(value) and _comparable(name, value) != _comparable(name, self.members.get(name))
        )

    def usable(self, now: float) -> bool:
        """Whether it can still be used, as far as is known: not found lost, and its secret not expired at `now`."""
        return not self.lost and not self.secret_expires_within(0, now)

    def secret_expires_within(self, seconds: float, now: float) -> bool:
        """Whether the secret is expired `seconds` after `now`; one without expiry never is."""
        expires_at = self.client_secret_expires_at
        if self.client_secret is None or not expires_at:
            return False
        return expires_at <= now + seconds


def is_unset(value: object) -> bool:
    """Whether the value stands for an omitted member: null, or an empty string, array or object (RFC 7591 §3.1)."""
    return value is None or value in ("", [], {}, ())


def _seconds(value: object) -> int | None:
    """An integer of seconds, also from servers that write it as a decimal or a string.

    None for anything else: the registration is made, and its credentials are worth more than its dates.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_TIME:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def _comparable(name: str, value: Any) -> Any:
    if name == "scope" and isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return frozenset(value)
    return value
