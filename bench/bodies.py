"""The one body that the registrar and its peers are sent."""

import json

BODY_BYTES = 400

CALLBACK = "https://app.example/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""The pair of RFC 7636 Appendix B."""

CREDENTIALS = b"grant_type=client_credentials"
EXCHANGE = (
    "grant_type=authorization_code&code={code}"
    f"&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&code_verifier={VERIFIER}"
).encode()


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


def others(count: int) -> list[dict[str, str]]:
    """What to put in the place of the name and the port of `client`, to have so many bodies of the same length."""
    return [{"33418": f"{20_000 + at}", "Example Agent": f"Example {at:05}"} for at in range(count)]
