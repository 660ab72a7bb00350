"""The MCP Python SDK's client, from a refusal to a tool's answer: discovery, registration, PKCE, a call, a refresh, a call."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

REDIRECT_URI = "http://127.0.0.1:8765/callback"
LONG_AGO = 1.0


class Storage:
    """The SDK's `TokenStorage`, in memory, with every token that it was ever given."""

    def __init__(self) -> None:
        self.client_info: OAuthClientInformationFull | None = None
        self.tokens: list[OAuthToken] = []

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens[-1] if self.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client_info

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client_info = client_info


class Browser:
    """Where the SDK sends a person, and the callback that comes back."""

    def __init__(self, person: str) -> None:
        self._person = person
        self.sent: list[dict[str, list[str]]] = []
        self._back = ""

    async def go(self, url: str) -> None:
        self.sent.append(parse_qs(urlsplit(url).query))
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
            answer = await http.get(self._person, params={"url": url})
        assert answer.status_code == httpx2.codes.OK, answer.text
        self._back = answer.text

    async def back(self) -> AuthorizationCodeResult:
        members = {name: values[0] for name, values in parse_qs(urlsplit(self._back).query).items()}
        return AuthorizationCodeResult(code=members["code"], state=members["state"], iss=members["iss"])


async def visit(
    resource: str, person: str, method: Literal["none", "client_secret_basic"], document: str | None = None
) -> dict[str, Any]:
    """What one new client is told by the tool, before and after a refresh; one with a document does not register."""
    storage, browser = Storage(), Browser(person)
    metadata = OAuthClientMetadata(
        client_name=f"MCP Python SDK {method}", redirect_uris=[AnyUrl(REDIRECT_URI)], token_endpoint_auth_method=method
    )
    provider = OAuthClientProvider(resource, metadata, storage, browser.go, browser.back, client_metadata_url=document)
    async with (
        httpx2.AsyncClient(auth=provider, trust_env=False, timeout=30) as http,
        Client(streamable_http_client(resource, http_client=http)) as client,
    ):
        first = await client.call_tool("whoami", {})
        # The SDK refreshes when the token's time is over by its own count; after a 401 it would ask the person again.
        provider.context.token_expiry_time = LONG_AGO
        second = await client.call_tool("whoami", {})

    (sent,) = browser.sent
    assert sent["resource"] == [resource]
    assert sent["code_challenge_method"] == ["S256"]
    issued, refreshed = storage.tokens
    assert issued.access_token != refreshed.access_token
    assert storage.client_info is not None
    return {
        "client_id": storage.client_info.client_id,
        "told": [first.structured_content, second.structured_content],
        # A public client's refresh token is replaced at each use.
        "rotated": issued.refresh_token != refreshed.refresh_token,
    }


async def main(resource: str, person: str, document: str = "") -> None:
    """Visit `resource` as a public client and as one with a secret, or as the one that a document describes."""
    if document:
        visits = [await visit(resource, person, "none", document)]
    else:
        visits = [await visit(resource, person, "none"), await visit(resource, person, "client_secret_basic")]
    print(json.dumps({"client": "mcp", "version": version("mcp"), "visits": visits}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
