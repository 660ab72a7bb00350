"""The code flow of Authlib's client: discovery, registration, PKCE, ID token, UserInfo, refresh, revocation."""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib.metadata import version

import requests

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http is on loopback here
warnings.simplefilter("ignore")  # what Authlib says of its own future is no finding of ours

from authlib.common.security import generate_token  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from joserfc import jwt  # noqa: E402
from joserfc.jwk import KeySet  # noqa: E402

REDIRECT_URI = "http://127.0.0.1:8765/callback"


def main(issuer: str, person: str) -> None:
    """Register a client with a secret, sign in, and print what it was told."""
    http = requests.Session()
    http.trust_env = False
    server = http.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
    metadata = {
        "client_name": "Authlib",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    registered = http.post(server["registration_endpoint"], json=metadata, timeout=10).json()
    session = OAuth2Session(
        registered["client_id"],
        registered["client_secret"],
        scope="openid email",
        redirect_uri=REDIRECT_URI,
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_basic",
        token_endpoint=server["token_endpoint"],
        revocation_endpoint=server["revocation_endpoint"],
        trust_env=False,
    )
    verifier, nonce = generate_token(48), generate_token()
    url, state = session.create_authorization_url(server["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
    answered = http.get(person, params={"url": url}, timeout=30)
    assert answered.status_code == 200, answer_text(answered)
    token = session.fetch_token(
        server["token_endpoint"], authorization_response=answered.text, code_verifier=verifier, state=state
    )
    keys = KeySet.import_key_set(http.get(server["jwks_uri"], timeout=10).json())
    claims = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (issuer, registered["client_id"], nonce)
    told = session.get(server["userinfo_endpoint"]).json()
    assert told["sub"] == claims["sub"]
    refreshed = session.refresh_token(server["token_endpoint"])
    assert refreshed["access_token"] != token["access_token"]
    assert session.revoke_token(server["revocation_endpoint"], refreshed["access_token"]).status_code == 200
    assert session.get(server["userinfo_endpoint"]).status_code == 401
    report = {
        "client": "authlib",
        "version": version("authlib"),
        "client_id": registered["client_id"],
        "sub": told["sub"],
        "email": told["email"],
    }
    print(json.dumps(report))


def answer_text(answer: requests.Response) -> str:
    """What went wrong, for people."""
    return f"{answer.status_code}: {answer.text}"


if __name__ == "__main__":
    main(*sys.argv[1:])
