"""The client's side: find an issuer, register with it once, keep the credentials, manage the registration.

    client = SyncRegistrationClient(credential_store=FileCredentialStore(Path.home() / ".local/state/example"))
    information = client.ensure_registered("https://as.example.com", {"client_name": "Example", ...})

`wire` has every exchange as a pair of pure functions, for those who bring their own HTTP; `flows` puts the pairs in
order; `RegistrationClient` and `SyncRegistrationClient` here only carry messages; `credential_store` keeps what is
issued; `errors` draws everything that can go wrong as a tree.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import CERT_REQUIRED, SSLContext
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict

import anyio
import httpx2

from registrar.client.client_information import ClientInformation, Difference, Note, Secret
from registrar.client.credential_store import CredentialStore, FileCredentialStore
from registrar.client.errors import (
    BearerRefused,
    Challenge,
    CredentialsNotSaved,
    CredentialStoreError,
    DiscoveryError,
    Fault,
    ForeignConfigurationEndpoint,
    InsufficientScope,
    InvalidClientMetadata,
    InvalidRedirectURI,
    InvalidSoftwareStatement,
    InvalidToken,
    IssuerMismatch,
    ManagementNotOffered,
    MetadataInvalid,
    MetadataNotFound,
    ProtocolError,
    RegistrarClientError,
    RegistrationLost,
    RegistrationNotOffered,
    RegistrationRefused,
    RequestInvalid,
    TemporarilyUnavailable,
    UnapprovedSoftwareStatement,
    Unreachable,
)
from registrar.client.flows import Flow, Flows, T
from registrar.client.message import LOOPBACK, Request, Response
from registrar.client.wire import ServerMetadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

__all__ = [
    "BearerRefused",
    "Challenge",
    "ClientInformation",
    "CredentialStore",
    "CredentialStoreError",
    "CredentialsNotSaved",
    "Difference",
    "DiscoveryError",
    "Fault",
    "FileCredentialStore",
    "ForeignConfigurationEndpoint",
    "InsufficientScope",
    "InvalidClientMetadata",
    "InvalidRedirectURI",
    "InvalidSoftwareStatement",
    "InvalidToken",
    "IssuerMismatch",
    "ManagementNotOffered",
    "MetadataInvalid",
    "MetadataNotFound",
    "Note",
    "ProtocolError",
    "RegistrarClientError",
    "RegistrationClient",
    "RegistrationLost",
    "RegistrationNotOffered",
    "RegistrationRefused",
    "Request",
    "RequestInvalid",
    "Response",
    "Secret",
    "ServerMetadata",
    "SyncRegistrationClient",
    "TemporarilyUnavailable",
    "UnapprovedSoftwareStatement",
    "Unreachable",
]

_LARGEST_ANSWER: Final = 1024 * 1024


class RegistrationClient:
    """Registers one client software with any number of issuers, and manages its registrations.

    Certificates are always verified, redirects are never followed, cookies are never kept, an answer is at most 1 MiB
    and must be complete within `timeout` seconds, and plain http is for this machine only.

    Args:
        credential_store: Where credentials live between runs; without one, the caller keeps what is returned.
        key: The name of this client in the store, where several share it.
        configuration_origins: Origins, besides the registration endpoint's, that a registration access token may be
            sent to (RFC 7592 §5).
        timeout: Seconds for each exchange.
        ssl_context: Other certificate authorities, or a certificate of the client's; it must verify.
        transport: Carries the messages in place of the network: in tests, or to an application in this process.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        credential_store: CredentialStore | None = None,
        key: str = "default",
        configuration_origins: Sequence[str] = (),
        timeout: float = 10.0,
        ssl_context: SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """See the class."""
        self._flows = Flows(credential_store, key, tuple(configuration_origins), clock)
        self._timeout = timeout
        self._http = httpx2.AsyncClient(**_settings(timeout, ssl_context), mounts=_DIRECT, transport=transport)
        self._registering = anyio.Lock()

    async def discover(self, issuer: str) -> ServerMetadata:
        """The metadata of the issuer that the caller names (RFC 8414 §3).

        Raises:
            DiscoveryError: There is none that may be used.
        """
        return await self._drive(self._flows.discover(issuer))

    async def register(
        self, issuer: str | ServerMetadata, metadata: Mapping[str, Any], initial_access_token: str | None = None
    ) -> ClientInformation:
        """Register anew (RFC 7591 §3), in place of what is stored for the issuer.

        What was registered may differ from what was asked for: see `ClientInformation.differences`.

        Raises:
            DiscoveryError: The issuer offers no registration.
            RegistrationRefused: The client metadata was refused.
            BearerRefused: The initial access token was missing, bad, or not enough.
        """
        return await self._drive(self._flows.register(issuer, metadata, initial_access_token))

    async def ensure_registered(
        self, issuer: str | ServerMetadata, metadata: Mapping[str, Any], initial_access_token: str | None = None
    ) -> ClientInformation:
        """What is stored for the issuer, without a request; registered first when nothing is.

        Registered again only when the stored secret has expired or the registration was found lost. Other metadata
        than at the first time does not count: compare with `ClientInformation.differences`, then `update`.

        Raises:
            RegistrarClientError: As `register`.
        """
        async with self._registering:
            return await self._drive(self._flows.ensure_registered(issuer, metadata, initial_access_token))

    async def read(self, information: ClientInformation) -> ClientInformation:
        """The registration as the server has it now (RFC 7592 §2.1).

        Raises:
            RegistrationLost: The server does not know it any more.
            ManagementNotOffered: It cannot be managed.
        """
        return await self._drive(self._flows.read(information))

    async def update(self, information: ClientInformation, /, **changes: Any) -> ClientInformation:
        """Read the registration, and write it back whole with the changes (RFC 7592 §2.2); None deletes a member.

        Raises:
            RegistrationRefused: The changed metadata was refused; the registration is as before.
            RegistrationLost: The server does not know it any more.
            ManagementNotOffered: It cannot be managed, or not in this way.
        """
        return await self._drive(self._flows.update(information, changes))

    async def delete(self, information: ClientInformation) -> None:
        """Delete the registration (RFC 7592 §2.3), and forget its credentials.

        Raises:
            RegistrationLost: It was gone before.
            ManagementNotOffered: It cannot be deleted in this way.
        """
        await self._drive(self._flows.delete(information))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """The client itself; it closes at the end."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def _drive(self, flow: Flow[T]) -> T:
        try:
            request = next(flow)
            while True:
                request = flow.send(await self.exchange(request))
        except StopIteration as end:
            result: T = end.value
            return result

    async def exchange(self, request: Request) -> Response:
        """Carry one message; every method goes through here, so that a subclass can witness what is sent and answered.

        Raises:
            Unreachable: No complete answer came.
            ProtocolError: It is larger than 1 MiB, or compressed.
        """
        with _mapped_errors(request):
            answer = _Answer(time.monotonic() + self._timeout)
            async with self._http.stream(
                request.method, request.url, headers=dict(request.headers), content=request.body
            ) as stream:
                answer.begin(stream)
                async for chunk in stream.aiter_bytes():
                    answer.add(chunk)
            return answer.response(stream)


class SyncRegistrationClient:
    """`RegistrationClient` for programs without an event loop; every method does the same."""

    def __init__(
        self,
        *,
        credential_store: CredentialStore | None = None,
        key: str = "default",
        configuration_origins: Sequence[str] = (),
        timeout: float = 10.0,
        ssl_context: SSLContext | None = None,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """See `RegistrationClient`."""
        self._flows = Flows(credential_store, key, tuple(configuration_origins), clock)
        self._timeout = timeout
        self._http = httpx2.Client(**_settings(timeout, ssl_context), mounts=_DIRECT, transport=transport)
        self._registering = threading.Lock()

    def discover(self, issuer: str) -> ServerMetadata:
        """See `RegistrationClient.discover`."""
        return self._drive(self._flows.discover(issuer))

    def register(
        self, issuer: str | ServerMetadata, metadata: Mapping[str, Any], initial_access_token: str | None = None
    ) -> ClientInformation:
        """See `RegistrationClient.register`."""
        return self._drive(self._flows.register(issuer, metadata, initial_access_token))

    def ensure_registered(
        self, issuer: str | ServerMetadata, metadata: Mapping[str, Any], initial_access_token: str | None = None
    ) -> ClientInformation:
        """See `RegistrationClient.ensure_registered`."""
        with self._registering:
            return self._drive(self._flows.ensure_registered(issuer, metadata, initial_access_token))

    def read(self, information: ClientInformation) -> ClientInformation:
        """See `RegistrationClient.read`."""
        return self._drive(self._flows.read(information))

    def update(self, information: ClientInformation, /, **changes: Any) -> ClientInformation:
        """See `RegistrationClient.update`."""
        return self._drive(self._flows.update(information, changes))

    def delete(self, information: ClientInformation) -> None:
        """See `RegistrationClient.delete`."""
        self._drive(self._flows.delete(information))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """The client itself; it closes at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def _drive(self, flow: Flow[T]) -> T:
        try:
            request = next(flow)
            while True:
                request = flow.send(self.exchange(request))
        except StopIteration as end:
            result: T = end.value
            return result

    def exchange(self, request: Request) -> Response:
        """See `RegistrationClient.exchange`."""
        with _mapped_errors(request):
            answer = _Answer(time.monotonic() + self._timeout)
            with self._http.stream(
                request.method, request.url, headers=dict(request.headers), content=request.body
            ) as stream:
                answer.begin(stream)
                for chunk in stream.iter_bytes():
                    answer.add(chunk)
            return answer.response(stream)


# A proxy from the environment would carry a plain-http token off this machine.
_DIRECT: Final = {f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK}


class _Settings(TypedDict):
    timeout: float
    verify: SSLContext | bool
    cookies: CookieJar
    follow_redirects: bool


def _settings(timeout: float, ssl_context: SSLContext | None) -> _Settings:
    if ssl_context is not None and (ssl_context.verify_mode is not CERT_REQUIRED or not ssl_context.check_hostname):
        raise RequestInvalid("the TLS context must verify certificates and host names (RFC 7591 §5)")
    return {
        "timeout": timeout,
        "verify": True if ssl_context is None else ssl_context,
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "follow_redirects": False,
    }


@dataclass
class _Answer:
    """An answer while it comes in: bounded in bytes and in time, a time that no trickle of bytes can stretch."""

    deadline: float
    body: bytearray = field(default_factory=bytearray)

    def begin(self, stream: httpx2.Response) -> None:
        if stream.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise ProtocolError("the answer is compressed although none was asked for", stream.status_code)

    def add(self, chunk: bytes) -> None:
        self.body += chunk
        if len(self.body) > _LARGEST_ANSWER:
            raise ProtocolError(f"the answer is larger than {_LARGEST_ANSWER} bytes")
        if time.monotonic() >= self.deadline:
            raise Unreachable("the answer was not complete in time")

    def response(self, stream: httpx2.Response) -> Response:
        headers = {name.lower(): value for name, value in stream.headers.items()}
        return Response(stream.status_code, headers, bytes(self.body))


@contextmanager
def _mapped_errors(request: Request) -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise Unreachable(f"{request.method} {request.url}: {type(error).__name__}: {error}") from error
