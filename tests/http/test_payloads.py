"""Every registration request of tests/data/payloads, sent as its client sends it and answered as it has to be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import pytest
from registering import PAYLOADS, payloads

from registrar.domain import redirect_uri
from registrar.service.ports import ClientQuery, EventQuery
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

FILES: Final = payloads("clients", "edge", "gateways")
LATER: Final = {name: file for name, file in FILES.items() if "authorize_redirect_uris" in file}
REQUEST: Final = {"request", "raw_body", "update", "authorize_redirect_uris"}
BACKGROUND: Final = {"client", "source", "confidence", "varies", "notes"}
_REPEAT: Final = re.compile(r"@repeat:(\d+):(.)", re.DOTALL)


@dataclass
class Exchange:
    """One file's request with its answer, and what the server publishes about itself."""

    file: dict[str, Any]
    answer: httpx2.Response
    discovery: dict[str, Any]
    updated: httpx2.Response | None = None

    @property
    def sent(self) -> dict[str, Any]:
        """The members that were sent."""
        return self.file["request"] or {}

    @property
    def members(self) -> dict[str, Any]:
        """The members of the answer."""
        return self.answer.json()

    @property
    def registered(self) -> bool:
        """Whether the server took the registration."""
        return self.answer.status_code == 201


def _one_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _status(exchange: Exchange, expected: int | list[int]) -> None:
    assert exchange.answer.status_code in _one_of(expected)


def _error(exchange: Exchange, expected: str | list[str]) -> None:
    assert exchange.members["error"] in _one_of(expected)


def _faults(exchange: Exchange, expected: list[str]) -> None:
    assert sorted(fault["member"] for fault in exchange.members["faults"]) == sorted(expected)


def _content_type(exchange: Exchange, expected: str) -> None:
    assert exchange.answer.headers["content-type"].partition(";")[0] == expected


def _client_secret(exchange: Exchange, expected: bool | str) -> None:
    if not exchange.registered:
        return
    has = {"client_secret", "client_secret_expires_at"} & set(exchange.members)
    if expected == "policy":
        # The policy decides, and `default` issues one where the registered method uses one.
        expected = exchange.members["token_endpoint_auth_method"].startswith("client_secret_")
    assert has == ({"client_secret", "client_secret_expires_at"} if expected else set())


def _response_method_in(exchange: Exchange, expected: list[str]) -> None:
    assert exchange.members["token_endpoint_auth_method"] in expected


def _response_must_have(exchange: Exchange, expected: list[str]) -> None:
    assert set(expected) <= set(exchange.members)


def _must_not_have(exchange: Exchange, expected: list[str]) -> None:
    assert not set(expected) & set(exchange.members)


def _echo_exact(exchange: Exchange, expected: list[str]) -> None:
    assert {name: exchange.members[name] for name in expected} == {name: exchange.sent[name] for name in expected}


def _keep_redirect_uris(exchange: Exchange, expected: list[str]) -> None:
    assert set(expected) <= set(exchange.members["redirect_uris"])


def _must_not_echo(exchange: Exchange, expected: list[str]) -> None:
    for name in expected:
        assert exchange.members.get(name) != exchange.sent[name]


def _grant_types_subset_of_supported(exchange: Exchange, expected: bool) -> None:
    assert set(exchange.members["grant_types"]).issubset(exchange.discovery["grant_types_supported"]) is expected


def _if_201_must_drop_grants(exchange: Exchange, expected: list[str]) -> None:
    assert not set(expected) & set(exchange.members.get("grant_types", []))


def _consent_must_show(exchange: Exchange, expected: str) -> None:
    # No consent page is served yet. What is refused never leads to one; what is registered must hold what it will show.
    if exchange.registered:
        assert any(expected in uri for uri in exchange.members["redirect_uris"])
    else:
        assert "client_id" not in exchange.members


def _update_status(exchange: Exchange, expected: int) -> None:
    assert exchange.updated is not None, "the file has an update_status and no update that could be sent"
    assert exchange.updated.status_code == expected


EXPECTATIONS: Final[dict[str, Callable[[Exchange, Any], None]]] = {
    "status": _status,
    "error": _error,
    "faults": _faults,
    "content_type": _content_type,
    "client_secret": _client_secret,
    "response_method_in": _response_method_in,
    "response_must_have": _response_must_have,
    "must_not_have": _must_not_have,
    "echo_exact": _echo_exact,
    "keep_redirect_uris": _keep_redirect_uris,
    "must_not_echo": _must_not_echo,
    "grant_types_subset_of_supported": _grant_types_subset_of_supported,
    "if_201_must_drop_grants": _if_201_must_drop_grants,
    "consent_must_show": _consent_must_show,
    "update_status": _update_status,
}
"""What is asserted for each key of `expect`; a key that is not here fails the test."""


async def _exchange(server: Served, file: dict[str, Any]) -> Exchange:
    """Send a file's request, and its update where the registration succeeded."""
    client = server.client
    if file["request"] is None:
        raw = _REPEAT.sub(lambda found: found[2] * int(found[1]), file["raw_body"])
        answer = await client.post("/register", content=raw.encode(), headers={"content-type": "application/json"})
    else:
        answer = await client.post("/register", json=file["request"])
    discovery = (await client.get("/.well-known/oauth-authorization-server")).json()
    exchange = Exchange(file, answer, discovery)
    if exchange.registered and "update" in file:
        issued = {f"@{name}": exchange.members.get(name) for name in ("client_id", "client_secret")}
        body = {
            name: issued.get(value, value) if isinstance(value, str) else value
            for name, value in file["update"].items()
        }
        exchange.updated = await client.put(
            exchange.members["registration_client_uri"], json=body, headers=_bearer(exchange)
        )
    return exchange


def _bearer(exchange: Exchange) -> dict[str, str]:
    return {"authorization": f"Bearer {exchange.members['registration_access_token']}"}


@pytest.mark.requirement("R7591-20", "R7591-47", "R7591-58", "WILD-8", "WILD-9")
@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
async def test_a_real_request_is_answered_as_its_client_needs(file: dict[str, Any]) -> None:
    """The answer under the policy `default` is what the file expects, and no expectation is left unread."""
    assert set(file) <= REQUEST | BACKGROUND | {"expect"}
    assert set(file["expect"]) <= set(EXPECTATIONS)
    async with served() as server:
        assert server.issuer.policy.name == "default"
        exchange = await _exchange(server, file)
    for key, expected in file["expect"].items():
        EXPECTATIONS[key](exchange, expected)


@pytest.mark.requirement("R7591-52", "R7591-53", "R7592-4", "R7592-29", "WILD-2", "WILD-3", "SEED-88")
@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
async def test_every_answer_is_a_clean_one(file: dict[str, Any]) -> None:
    """A registration is JSON without null or empty strings and reads back the same; a refusal names its faults."""
    async with served() as server:
        exchange = await _exchange(server, file)
        members = exchange.members
        assert exchange.answer.headers["cache-control"] == "no-cache, no-store"
        if not exchange.registered:
            assert 400 <= exchange.answer.status_code < 500
            assert members["faults"]
            assert exchange.answer.text.isascii()
            assert await server.registry.store.clients(ClientQuery()) == []
            return
        assert not [name for name, value in members.items() if value is None or value == ""]
        assert members.get("redirect_uris", []) == exchange.sent.get("redirect_uris", [])
        read = await server.client.get(members["registration_client_uri"], headers=_bearer(exchange))
        assert read.status_code == 200
        assert read.json() == (members if exchange.updated is None else exchange.updated.json())


@pytest.mark.requirement("D-7")
@pytest.mark.parametrize("file", LATER.values(), ids=LATER)
async def test_the_redirect_uris_of_later_requests_match(file: dict[str, Any]) -> None:
    """Every redirect URI that the client will use at the authorization endpoint matches one that was registered."""
    async with served() as server:
        exchange = await _exchange(server, file)
    for used in exchange.file["authorize_redirect_uris"]:
        assert any(redirect_uri.matches(known, used) for known in exchange.members["redirect_uris"])


@pytest.mark.requirement("R7591-4", "D-6", "R7592-13", "WILD-19", "WILD-20")
@pytest.mark.parametrize("response_types", [["code"], ["token"], [], None])
@pytest.mark.parametrize("redirect_uris", [[], None])
async def test_a_machine_client_needs_neither_redirects_nor_response_types(
    response_types: Any, redirect_uris: Any
) -> None:
    """What a gateway copies into a client_credentials registration is dropped, and told, where it could never be used."""
    body = {
        "grant_types": ["client_credentials"],
        "response_types": response_types,
        "redirect_uris": redirect_uris,
    }
    async with served() as server:
        answer = await server.client.post("/register", json=body)
        assert answer.status_code == 201
        assert not {"response_types", "redirect_uris"} & set(answer.json())
        (event,) = await server.registry.store.events(EventQuery(kind="client.registered"))
        assert (b"offered.moot_response_types" in event.event.body) is bool(response_types)


@pytest.mark.requirement("R7591-4", "WILD-19")
async def test_an_empty_array_of_redirect_uris_is_an_error_where_a_grant_redirects() -> None:
    """`redirect_uris: []` counts as omitted, and a client that redirects cannot omit it."""
    async with served() as server:
        answer = await server.client.post("/register", json={"redirect_uris": []})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


def test_the_key_of_the_folder_explains_every_expectation() -> None:
    """The README beside the payloads has a row for each key that is asserted."""
    text = (PAYLOADS / "README.md").read_text("utf-8")
    assert [key for key in EXPECTATIONS if f"| `{key}` |" not in text] == []
