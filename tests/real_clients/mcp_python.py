"""Registers with the MCP Python SDK as an agent does.

A protected resource refuses the agent; the SDK finds the authorization server (RFC 9728, RFC 8414), registers
(RFC 7591) and stands ready to send the user to the authorization endpoint. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

RESOURCE = "https://mcp.example/mcp"
RESOURCE_METADATA = "https://mcp.example/.well-known/oauth-protected-resource/mcp"
REDIRECT_URI = "http://127.0.0.1:8765/callback"


class SentToAuthorizeError(Exception):
    """The SDK has registered and would now send a person to the authorization endpoint."""


class Storage:
    """The SDK's `TokenStorage`, in memory: what it saves here is what it made of the server's answer."""

    def __init__(self) -> None:
        self.client_info: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        raise AssertionError(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client_info

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client_info = client_info


async def register(issuer: str, method: Literal["none", "client_secret_basic"]) -> dict[str, Any]:
    """The client information response to one registration, once the SDK has accepted it."""
    answers: list[dict[str, Any]] = []

    def protected_resource(request: httpx2.Request) -> httpx2.Response:
        if str(request.url) == RESOURCE_METADATA:
            return httpx2.Response(200, json={"resource": RESOURCE, "authorization_servers": [issuer]})
        challenge = f'Bearer resource_metadata="{RESOURCE_METADATA}"'
        return httpx2.Response(401, headers={"www-authenticate": challenge})

    async def keep(response: httpx2.Response) -> None:
        # The SDK drops the members of RFC 7592 that it does not know, so the whole answer is kept from the wire.
        if response.status_code == httpx2.codes.CREATED:
            await response.aread()
            answers.append(response.json())

    async def sent_to_authorize(authorization_url: str) -> None:
        raise SentToAuthorizeError(authorization_url)

    async def never_called_back() -> AuthorizationCodeResult:
        raise AssertionError

    storage = Storage()
    metadata = OAuthClientMetadata(
        client_name=f"MCP Python SDK {method}",
        redirect_uris=[AnyUrl(REDIRECT_URI)],
        token_endpoint_auth_method=method,
    )
    provider = OAuthClientProvider(RESOURCE, metadata, storage, sent_to_authorize, never_called_back)
    # What the agent wants to reach is played here; every other request goes to the server under test.
    mounts = {"all://mcp.example": httpx2.MockTransport(protected_resource)}
    async with httpx2.AsyncClient(
        auth=provider, mounts=mounts, event_hooks={"response": [keep]}, trust_env=False
    ) as http:
        try:
            await http.get(RESOURCE)
        except SentToAuthorizeError as sent:
            authorization = parse_qs(urlsplit(str(sent)).query)
        else:
            raise AssertionError("the SDK never came to the authorization endpoint")

    (answer,) = answers
    saved = storage.client_info
    assert saved is not None
    assert saved.issuer == issuer
    assert saved.client_id == answer["client_id"]
    assert [saved.client_id] == authorization["client_id"]
    assert [str(uri) for uri in saved.redirect_uris or []] == [REDIRECT_URI]
    assert saved.token_endpoint_auth_method == method
    assert (saved.client_secret is not None) == (method != "none")
    return answer


async def main(issuer: str) -> None:
    """Register a public client and a confidential one at `issuer`, and print both."""
    # The SDK logs what it raises; here it is raised on purpose.
    logging.getLogger("mcp.client.auth").addHandler(logging.NullHandler())
    clients = [await register(issuer, "none"), await register(issuer, "client_secret_basic")]
    report = {
        "client": "mcp",
        "version": version("mcp"),
        "client_id": [client["client_id"] for client in clients],
        "read": [],
        "updated": [],
        "deleted": [],
        "registrations": clients,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
