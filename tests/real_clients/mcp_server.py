"""An MCP server that Registrar protects: the Python SDK's server, and a token verifier that asks at `/introspect`.

The SDK refuses requests without a good token, says where to get one (RFC 9728), and compares the token's audience and
scope with its own; what a token is worth it learns from Registrar (RFC 7662).
"""

from __future__ import annotations

import sys

import httpx2
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

SCOPE = "notes"
"""What a token must allow here."""


class Introspection:
    """The SDK's `TokenVerifier`: what the authorization server says of a token that was presented here."""

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        self._endpoint = f"{issuer}/introspect"
        self._http = httpx2.AsyncClient(auth=(client_id, client_secret), trust_env=False)

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token as the SDK judges it, or nothing where it is not good at all."""
        answer = await self._http.post(self._endpoint, data={"token": token, "token_type_hint": "access_token"})
        answer.raise_for_status()
        told = answer.json()
        if not told["active"] or not isinstance(told["aud"], str):
            return None
        return AccessToken(
            token=token,
            client_id=told["client_id"],
            scopes=told.get("scope", "").split(),
            expires_at=told["exp"],
            resource=told["aud"],
            subject=told["sub"],
            claims={"iss": told["iss"]},
        )


def server(resource: str, issuer: str, verifier: Introspection) -> MCPServer[None]:
    """The MCP server at `resource`, with one tool."""
    # Validated from a string: an `AnyHttpUrl` made beforehand ends in a slash, and would name another issuer.
    auth = AuthSettings.model_validate(
        {
            "issuer_url": issuer,
            "resource_server_url": resource,
            "required_scopes": [SCOPE],
            "validate_token_resource": True,
        }
    )
    mcp: MCPServer[None] = MCPServer("Notes", auth=auth, token_verifier=verifier, log_level="WARNING")

    @mcp.tool()
    def whoami() -> dict[str, str]:
        """Who calls, by the token."""
        token = get_access_token()
        assert token is not None
        return {"client_id": token.client_id, "sub": token.subject or "", "scope": " ".join(token.scopes)}

    return mcp


def main(port: str, issuer: str, client_id: str) -> None:
    """Serve `http://127.0.0.1:PORT/mcp`, with the client secret from standard input."""
    verifier = Introspection(issuer, client_id, sys.stdin.readline().strip())
    app = server(f"http://127.0.0.1:{port}/mcp", issuer, verifier).streamable_http_app()
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
