"""An authorization server of thirty lines, which answers as told, for the client library to talk to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from registrar.client import FileCredentialStore, RegistrationClient, SyncRegistrationClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ISSUER = "https://as.example.com"
ENDPOINT = f"{ISSUER}/register"
CONFIGURATION = f"{ISSUER}/register/s6BhdRkqt3"


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio, the loop that the product runs on."""
    return "asyncio"


@dataclass
class FakeIssuer:
    """Answers by method and path, with what the test has put there, and remembers what it was asked."""

    answers: dict[tuple[str, str], httpx2.Response | Callable[[httpx2.Request], httpx2.Response]] = field(
        default_factory=dict
    )
    requests: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer, and remember."""
        self.requests.append(request)
        answer = self.answers.get((request.method, request.url.path), httpx2.Response(404))
        return answer if isinstance(answer, httpx2.Response) else answer(request)

    @property
    def asked(self) -> list[str]:
        """The requests, readable."""
        return [f"{request.method} {request.url.path}" for request in self.requests]

    def token_of(self, number: int) -> str | None:
        """The Authorization header of a request."""
        return self.requests[number].headers.get("authorization")


@pytest.fixture
def issuer() -> FakeIssuer:
    """An issuer that registers a confidential client and lets it be read, updated and deleted."""
    registered = {
        "client_id": "s6BhdRkqt3",
        "client_secret": "secret-1",
        "client_secret_expires_at": 0,
        "registration_access_token": "token-1",
        "registration_client_uri": CONFIGURATION,
        "client_name": "Example",
        "redirect_uris": ["https://client.example.org/cb"],
    }

    def update(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={**registered, **json.loads(request.content)})

    return FakeIssuer(
        {
            ("GET", "/.well-known/oauth-authorization-server"): httpx2.Response(
                200, json={"issuer": ISSUER, "registration_endpoint": ENDPOINT}
            ),
            ("POST", "/register"): httpx2.Response(201, json=registered),
            ("GET", "/register/s6BhdRkqt3"): httpx2.Response(200, json=registered),
            ("PUT", "/register/s6BhdRkqt3"): update,
            ("DELETE", "/register/s6BhdRkqt3"): httpx2.Response(204),
        }
    )


@pytest.fixture(params=[RegistrationClient, SyncRegistrationClient])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client of either kind; a test that takes this runs with both."""

    def make(handler: Callable[[httpx2.Request], httpx2.Response] | None = None, **settings: Any) -> Any:
        transport = None if handler is None else httpx2.MockTransport(handler)
        return request.param(transport=transport, **settings)

    return make


@pytest.fixture
def store(tmp_path: Any) -> FileCredentialStore:
    """A credential store in a directory of its own."""
    return FileCredentialStore(tmp_path / "credentials")


@pytest.fixture
def settled() -> Callable[[Any], Awaitable[Any]]:
    """Waits for what the asynchronous client returns, and passes on what the synchronous one does."""

    async def settle(value: Any) -> Any:
        return await value if isawaitable(value) else value

    return settle
