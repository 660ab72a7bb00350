"""The one body that the registrar and its peers are sent."""

import json

BODY_BYTES = 400


def client(auth_method: str, redirect_uri: str = "http://127.0.0.1:33418/oauth/callback") -> bytes:
    """What an agent sends when it meets a server for the first time, in exactly 400 bytes."""
    metadata = {
        "client_name": "Example Agent",
        "redirect_uris": [redirect_uri, "http://localhost:33418/oauth/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": auth_method,
        "application_type": "native",
        "scope": "openid offline_access",
        "client_uri": "https://agent.example.com/",
        "software_version": "",
    }
    room = BODY_BYTES - len(json.dumps(metadata, separators=(",", ":")))
    metadata["software_version"] = "2.11.4+".ljust(room, "0")
    return json.dumps(metadata, separators=(",", ":")).encode()
