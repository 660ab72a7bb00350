"""What the protocol tests share: configurations, a plain client, the calls of a client, and the audit read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from registrar.domain.access_token import Kind
from registrar.service import initial_access, keys
from registrar.service.ports import EventQuery
from registrar.testing import Served

PAYLOADS = Path(__file__).parents[1] / "data" / "payloads"

MEMBERS: Mapping[str, Any] = {"client_name": "Reader", "redirect_uris": ["https://app.example/callback"]}
"""A plain confidential client with every default."""

PUBLIC: Mapping[str, Any] = {**MEMBERS, "token_endpoint_auth_method": "none"}
"""A plain public client."""

MACHINE: Mapping[str, Any] = {"client_name": "Batch", "grant_types": ["client_credentials"]}
"""A client that never redirects anybody."""

FORBIDDEN_IN_PUT = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)
"""RFC 7592 §2.2, written out here so that the server's own table is held against it."""


def configured(
    mode: str = "open",
    *,
    url: str = "https://as.example",
    issuer: str = "",
    registration: str = "",
    tables: str = "",
    database: str = "memory:",
) -> str:
    """A configuration of one issuer; `issuer`, `registration` and `tables` are TOML at their places."""
    return f"""
[server]
database = "{database}"
[issuer.main]
url = "{url}"
{issuer}
[issuer.main.registration]
mode = {mode if mode.startswith("[") else json.dumps(mode)}
{registration}
{tables}
"""


def on_disk(folder: Path, mode: str = "open", **more: str) -> str:
    """The same on SQLite, where concurrent callers really wait for each other."""
    return configured(mode, url="http://127.0.0.1:8000", database=f"sqlite:///{folder}/registrar.db", **more)


def payloads(*folders: str) -> dict[str, dict[str, Any]]:
    """The payload files of the named folders, by folder and name."""
    found = sorted(path for folder in folders for path in (PAYLOADS / folder).glob("*.json"))
    return {f"{path.parent.name}/{path.stem}": json.loads(path.read_text("utf-8")) for path in found}


def registers(payload: Mapping[str, Any], answer: httpx2.Response) -> bool:
    """Whether an answer registers a payload; hold that it does where the payload's file expects it to."""
    expected = payload["expect"].get("status", 201)
    assert answer.status_code in (expected if isinstance(expected, list) else [expected]), answer.text
    return answer.status_code == 201


def bearer(token: str) -> dict[str, str]:
    """The header that presents a token, or none."""
    return {"authorization": f"Bearer {token}"} if token else {}


async def post(server: Served, members: Any = MEMBERS, token: str = "", path: str = "/register") -> httpx2.Response:
    """POST a registration."""
    return await server.client.post(path, json=members, headers=bearer(token))


async def register(
    server: Served, members: Mapping[str, Any] = MEMBERS, token: str = "", path: str = "/register"
) -> dict[str, Any]:
    """Register, and give the client information."""
    answer = await post(server, members, token, path)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def manage(
    server: Served, client: Mapping[str, Any], method: str = "GET", members: Any = None, *, token: str | None = None
) -> httpx2.Response:
    """Call the configuration endpoint of a client with its token, or with another."""
    used = client["registration_access_token"] if token is None else token
    more = {} if members is None else {"json": members}
    return await server.client.request(method, client["registration_client_uri"], headers=bearer(used), **more)


def as_update(client: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A client's own answer as an update: without the four forbidden members, and with `changes`."""
    return {name: value for name, value in client.items() if name not in FORBIDDEN_IN_PUT} | changes


def without(members: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The members but for some."""
    return {name: value for name, value in members.items() if name not in names}


def refused(answer: httpx2.Response, error: str, member: str = "", status: int = 400) -> dict[str, Any]:
    """Hold that an answer refuses with this error, naming this member, and tells nothing of a client."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert body["error"] == error, body
    assert not {"client_id", "client_secret", "registration_access_token"} & set(body)
    if member:
        assert member in [fault["member"] for fault in body["faults"]], body
    return body


async def issue(server: Served, kind: str = "operator", **settings: Any) -> tuple[str, str]:
    """Issue an initial access token at the first issuer: its value and its identifier."""
    value, token = await initial_access.issue_token(
        server.registry, server.issuer, server.operator, kind=Kind(kind), **settings
    )
    return value, token.token_id


async def events(server: Served, kind: str | None = None, client_id: str | None = None) -> list[dict[str, Any]]:
    """The audit's events, decoded, oldest first."""
    stored = await server.registry.store.events(EventQuery(kind=kind, client_id=client_id), limit=100_000)
    return [json.loads(one.event.body) for one in stored]


async def everything_recorded(server: Served) -> str:
    """Every byte of every event, disclosures included."""
    stored = await server.registry.store.events(EventQuery(), limit=100_000)
    return "\n".join((one.event.body + one.event.personal).decode() for one in stored)


async def started(server: Served) -> None:
    """Make the signing keys, as the application does before its first request."""
    for issuer in server.registry.issuers.values():
        await keys.ensure(server.registry, issuer)
