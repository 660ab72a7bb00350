"""What the tests of the profiles share: a served ecosystem, the calls that are made there, and what a refusal is."""

from __future__ import annotations

import atexit
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import msgspec

from registrar.domain.access_token import ACCESS_TOKEN, AccessToken
from registrar.service import access
from registrar.service.ports import Item
from registrar.storage.memory import MemoryStore
from registrar.testing import FrozenClock, Served, served
from registrar.testing.authority import Issued
from registrar.testing.directory import Directory

URL = "https://as.example"
JOSE, JWT = "application/jose", "application/jwt"


class Tokens:
    """The access tokens that clients have earned, as the authorization server keeps them."""

    def __init__(self) -> None:
        self.known: dict[str, AccessToken] = {}

    def issue(self, client_id: str, *scope: str, certificate: Issued | None = None, subject: str = "") -> str:
        """A new token of a client, bound to a certificate or not."""
        from registrar.domain.certificate import read

        token = f"token-{len(self.known)}"
        self.known[access.key(token)] = AccessToken(
            token_id=token,
            client_id=client_id,
            scope=scope,
            subject=subject,
            issued_at=0,
            expires_at=0,
            certificate_thumbprint=read(certificate.der).thumbprint if certificate else "",
        )
        return token

    def expire(self, token: str) -> None:
        """Let a token end."""
        del self.known[access.key(token)]


class _Store(MemoryStore):
    """A store that has these access tokens besides what is stored."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self._tokens = tokens

    async def item(self, issuer: str, kind: str, key: str) -> Item | None:
        if kind != ACCESS_TOKEN or issuer != "main":
            return await super().item(issuer, kind, key)
        known = self._tokens.known.get(key)
        if known is None:
            return await super().item(issuer, kind, key)
        return Item(issuer, kind, key, msgspec.json.encode(known), client_id=known.client_id)


@cache
def folder() -> Path:
    """Where the authorities of client certificates are written, until the tests end."""
    found = TemporaryDirectory()
    atexit.register(found.cleanup)
    return Path(found.name)


@asynccontextmanager
async def ecosystem(
    profile: str,
    directory: Directory,
    *,
    scopes: Iterable[str] = (),
    policy: str = "",
    anchors: str = "",
    other_anchors: str = "",
    tokens: Tokens | None = None,
    tables: str = "",
    issuer: str = "",
) -> AsyncIterator[Served]:
    """A server under a profile that believes a directory, reached through a proxy that ends mutual TLS.

    `policy` is TOML of a policy that extends the profile; `anchors` is a file of authorities instead of a key set,
    and `other_anchors` that of a second community.
    """
    believed = (
        f"anchors = {json.dumps(anchors)}"
        if anchors
        else (f'issuer = "{directory.url}"\njwks_uri = "{directory.jwks_uri}"')
    )
    name = "own" if policy else profile
    authorities = directory.authority.write(folder())
    text = f"""
[server]
database = "memory:"
trusted_proxies = ["127.0.0.1"]
[statement_issuer.directory]
{believed}
[issuer.main]
url = "{URL}"
{issuer}
[issuer.main.scopes]
catalogue = {json.dumps(["openid", "offline_access", *scopes])}
[issuer.main.registration]
mode = "open"
policy = "{name}"
certificate_authorities = {json.dumps(str(authorities))}
statement_issuers = {json.dumps(["directory", *(["other"] if other_anchors else [])])}
{f'[policy.own]{chr(10)}extends = ["{profile}"]{chr(10)}{policy}' if policy else ""}
{f"[statement_issuer.other]{chr(10)}anchors = {json.dumps(other_anchors)}" if other_anchors else ""}
{tables}
"""
    clock = directory.clock
    assert isinstance(clock, FrozenClock)
    async with served(text, clock=clock, fetch=directory.documents, store=_Store(tokens or Tokens())) as server:
        yield server


async def send(
    server: Served,
    body: Mapping[str, Any] | str | bytes | None,
    *,
    certificate: Issued | None = None,
    method: str = "POST",
    path: str = "/register",
    token: str = "",
    media: str = JOSE,
) -> httpx2.Response:
    """Send a registration or what manages one; text is a JWT, a mapping is JSON."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if certificate:
        headers["client-cert"] = certificate.client_cert
    if body is None:
        return await server.client.request(method, path, headers=headers)
    if isinstance(body, Mapping):
        return await server.client.request(method, path, json=dict(body), headers=headers)
    return await server.client.request(method, path, content=body, headers=headers | {"content-type": media})


async def manage(
    server: Served,
    client: Mapping[str, Any],
    method: str = "GET",
    body: Mapping[str, Any] | str | None = None,
    **how: Any,
) -> httpx2.Response:
    """Call the configuration endpoint of a client."""
    return await send(server, body, method=method, path=f"/register/{client['client_id']}", **how)


def made(answer: httpx2.Response, status: int = 201) -> dict[str, Any]:
    """The client information of an answer that registers: JSON, with a client_id and without an error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/json"
    assert answer.headers["cache-control"] == "no-cache, no-store"
    information = answer.json()
    assert information["client_id"]
    assert "error" not in information
    assert ("registration_client_uri" in information) is ("registration_access_token" in information)
    assert ("client_secret" in information) is ("client_secret_expires_at" in information)
    return dict(information)


def refused(answer: httpx2.Response, error: str, member: str = "", status: int = 400) -> dict[str, Any]:
    """The body of a refusal: JSON, with the error, the member at fault, and never a client_id."""
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, error), answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/json"
    assert "client_id" not in body
    if member:
        assert member in {one["member"].partition("[")[0] for one in body["faults"]}, answer.text
    return dict(body)
