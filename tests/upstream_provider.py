"""Another OpenID provider, in memory, that signs people in for an issuer under test."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from registrar.service.ports import Fetched
from registrar.testing import Documents

PROVIDER = "https://login.example/realms/main"


@dataclasses.dataclass
class Provider(Documents):
    """An OpenID provider without a network: it answers discovery, keys, and one code at its token endpoint."""

    clock: Any
    members: dict[str, Any] = dataclasses.field(default_factory=dict)
    claims: dict[str, Any] = dataclasses.field(default_factory=dict)
    header: dict[str, Any] = dataclasses.field(default_factory=dict)
    key: Any = None
    published: Any = None
    challenge: str = ""
    authorization: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.published = ECKey.generate_key("P-256", {"kid": "one"}, private=True)
        self.key = self.published

    async def __call__(self, url: str, *, accept: tuple[str, ...], limit: int = 65_536) -> Fetched:
        self.documents = {
            f"{PROVIDER}/.well-known/openid-configuration": json.dumps(
                {
                    "issuer": PROVIDER,
                    "authorization_endpoint": f"{PROVIDER}/auth",
                    "token_endpoint": f"{PROVIDER}/token",
                    "jwks_uri": f"{PROVIDER}/keys",
                    **self.members,
                }
            ).encode(),
            f"{PROVIDER}/keys": json.dumps({"keys": [self.published.as_dict(private=False)]}).encode(),
            f"{PROVIDER}/token": json.dumps({"access_token": "x", "id_token": self.id_token()}).encode(),
        }
        return await super().__call__(url, accept=accept, limit=limit)

    async def post(self, url: str, form: Mapping[str, str], **more: Any) -> Fetched:
        self.authorization = more.get("authorization", "")
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() == self.challenge
        return await super().post(url, form, **more)

    def id_token(self) -> str:
        """An ID token for the sign-in that was asked for, with what the test changes."""
        now = self.clock.now
        claims = {
            "iss": PROVIDER,
            "aud": "registrar",
            "sub": "u-1",
            "iat": now,
            "exp": now + 300,
            "preferred_username": "carol",
            "name": "Carol",
            **self.claims,
        }
        header = {"alg": "ES256", "kid": "one", **self.header}
        return jwt.encode(header, {name: value for name, value in claims.items() if value is not None}, self.key)
