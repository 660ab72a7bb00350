"""What a client does, in steps: each flow yields a `Request` and is sent the `Response`.

The flows hold all that the asynchronous and the synchronous client have in common, which is everything but the waiting.
Credentials are saved in the same step in which they are read, with no chance of being cancelled in between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from registrar.client.errors import (
    CredentialsNotSaved,
    CredentialStoreError,
    DiscoveryError,
    IssuerMismatch,
    MetadataInvalid,
    MetadataNotFound,
    RegistrationLost,
    RequestInvalid,
)
from registrar.client.message import Request, Response, url_fault
from registrar.client.wire import (
    ServerMetadata,
    build_delete,
    build_discovery,
    build_read,
    build_register,
    build_update,
    read_delete,
    read_discovery,
    read_read,
    read_registration,
    read_update,
)

if TYPE_CHECKING:
    from registrar.client.client_information import ClientInformation
    from registrar.client.credential_store import CredentialStore

T = TypeVar("T")
Flow: TypeAlias = Generator[Request, Response, T]

# Of several failed probes, the one that tells most is reported.
_TELLING = (IssuerMismatch, MetadataInvalid, MetadataNotFound)


@dataclass(frozen=True, slots=True)
class Flows:
    """The flows of one client software."""

    store: CredentialStore | None
    key: str
    allowed_origins: tuple[str, ...]
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        """Refuse origins that no token may be sent to."""
        for url in self.allowed_origins:
            fault = url_fault(url)
            if fault is not None:
                raise RequestInvalid(f"the allowed origin cannot be used: {fault}")

    def discover(self, issuer: str) -> Flow[ServerMetadata]:
        """Ask at each place where the metadata may be; the first valid document counts (RFC 8414 §3)."""
        failures: list[DiscoveryError] = []
        for request in build_discovery(issuer):
            response = yield request
            try:
                return read_discovery(issuer, response)
            except DiscoveryError as error:
                failures.append(error)
        raise min(failures, key=lambda error: _TELLING.index(type(error)))

    def register(
        self, issuer: str | ServerMetadata, client_metadata: Mapping[str, Any], initial_access_token: str | None
    ) -> Flow[ClientInformation]:
        """Discover and register; what was saved for the issuer and key is replaced."""
        # A store that cannot be read is found out before there is anything to lose.
        self._stored(issuer)
        metadata = issuer if isinstance(issuer, ServerMetadata) else (yield from self.discover(issuer))
        response = yield build_register(metadata, client_metadata, initial_access_token=initial_access_token)
        return self._saved(read_registration(metadata, response))

    def ensure_registered(
        self, issuer: str | ServerMetadata, client_metadata: Mapping[str, Any], initial_access_token: str | None
    ) -> Flow[ClientInformation]:
        """Take what is stored, without a request, unless there is nothing, or it is lost or expired."""
        stored = self._stored(issuer)
        if stored is not None and stored.usable(self.clock()):
            return stored
        return (yield from self.register(issuer, client_metadata, initial_access_token))

    def read(self, information: ClientInformation) -> Flow[ClientInformation]:
        """Read the registration."""
        answer = yield from self._manage(information, build_read, read_read)
        return self._saved(answer)

    def update(self, information: ClientInformation, changes: Mapping[str, Any]) -> Flow[ClientInformation]:
        """Read the registration, and write it whole with the changes (RFC 7592 §2.2)."""

        def build(current: ClientInformation, *, allowed_origins: tuple[str, ...]) -> Request:
            return build_update(current, changes, allowed_origins=allowed_origins)

        current = yield from self.read(information)
        answer = yield from self._manage(current, build, read_update)
        return self._saved(answer)

    def delete(self, information: ClientInformation) -> Flow[None]:
        """Delete the registration, and forget it."""
        yield from self._manage(information, build_delete, lambda _, response: read_delete(response))
        if self.store is not None:
            self.store.forget(information.issuer, self.key)

    def _manage(
        self,
        information: ClientInformation,
        build: Callable[..., Request],
        read: Callable[[ClientInformation, Response], T],
    ) -> Flow[T]:
        """One exchange with the configuration endpoint, by the newest token that is known."""
        current = self._newest(information)
        while True:
            response = yield build(current, allowed_origins=self.allowed_origins)
            try:
                return read(current, response)
            except RegistrationLost:
                newest = self._newest(information)
                if newest.registration_access_token == current.registration_access_token:
                    if self.store is not None:
                        self._saved(replace(current, lost=True))
                    raise
                # Another process has met a rotation in the meantime; its token is the living one.
                current = newest

    def _stored(self, issuer: str | ServerMetadata) -> ClientInformation | None:
        if self.store is None:
            return None
        return self.store.load(issuer.issuer if isinstance(issuer, ServerMetadata) else issuer, self.key)

    def _newest(self, information: ClientInformation) -> ClientInformation:
        """What is stored, when it is this client: a token that was rotated has been saved there."""
        stored = self._stored(information.issuer)
        if stored is None:
            return information
        if stored.client_id != information.client_id:
            raise RequestInvalid("another client is stored for this issuer and key; give each client its own key")
        return stored

    def _saved(self, information: ClientInformation) -> ClientInformation:
        """Save before anybody can use it (RFC 7592 §2.1): the former token may be dead already."""
        if self.store is None:
            return information
        try:
            self.store.save(information, self.key)
        except (CredentialStoreError, OSError) as error:
            raise CredentialsNotSaved(information) from error
        return information
