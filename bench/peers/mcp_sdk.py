"""The MCP Python SDK's registration endpoint under uvicorn: anyone may register, clients live in a dictionary."""

import sys
from typing import Any

import uvicorn
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyHttpUrl
from starlette.applications import Starlette


class DictProvider:
    """The two verbs of the SDK's provider that registration needs."""

    def __init__(self) -> None:
        self.clients: dict[str | None, OAuthClientInformationFull] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info


def app(port: int) -> Starlette:
    """The SDK's own routes and nothing else."""
    provider: Any = DictProvider()
    issuer = AnyHttpUrl(f"http://127.0.0.1:{port}")
    options = ClientRegistrationOptions(enabled=True, valid_scopes=["openid", "offline_access"])
    return Starlette(routes=create_auth_routes(provider, issuer, client_registration_options=options))


if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(app(port), host="127.0.0.1", port=port, log_level="warning", access_log=False)
