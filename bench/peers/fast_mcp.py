"""FastMCP's registration endpoint, as its server serves it over HTTP: anyone may register, clients live in a dictionary."""

import sys

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.settings import ClientRegistrationOptions

if __name__ == "__main__":
    port = int(sys.argv[1])
    options = ClientRegistrationOptions(enabled=True, valid_scopes=["openid", "offline_access"])
    auth = InMemoryOAuthProvider(base_url=f"http://127.0.0.1:{port}", client_registration_options=options)
    app = FastMCP("bench", auth=auth).http_app()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
