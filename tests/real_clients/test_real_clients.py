"""OAuth clients that other people wrote, from their registries, register at a live server."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Protected

HERE = Path(__file__).parent
PINNED = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
CLIENT_SECONDS = 60


def run(*command: str | Path) -> dict[str, Any]:
    """The report of a client's script: the one line of JSON that it prints."""
    client = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False)
    assert client.returncode == 0, f"{command} exited with {client.returncode}:\n{client.stdout}{client.stderr}"
    (line,) = client.stdout.splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


def summary(report: dict[str, Any]) -> str:
    """One line for people: which client, which version, what it obtained and what it then did."""
    done = ["registered", *(verb for verb in ("read", "updated", "deleted") if report[verb])]
    return f"{report['client']} {report['version']} ({', '.join(done)}): {' '.join(report['client_id'])}"


def assert_registered(report: dict[str, Any]) -> None:
    """Each client of the report is found at its configuration endpoint as it was left, and a deleted one is not."""
    assert report["client_id"] == [registration["client_id"] for registration in report["registrations"]]
    assert len(set(report["client_id"])) == len(report["client_id"]) > 1
    for registration in report["registrations"]:
        token = registration["registration_access_token"]
        response = httpx2.get(
            registration["registration_client_uri"], headers={"authorization": f"Bearer {token}"}, trust_env=False
        )
        if registration["client_id"] in report["deleted"]:
            assert response.status_code == 401, response.text
            continue
        assert response.status_code == 200, response.text
        for member in ("client_id", "client_name", "redirect_uris", "grant_types", "token_endpoint_auth_method"):
            assert response.json()[member] == registration[member]
        assert response.json().get("client_secret") == registration.get("client_secret")


def test_openid_client(live_server: str, node: str, announce: Callable[[str], None]) -> None:
    """openid-client registers a public, a secret and a key client, and reads, updates and deletes at the endpoint."""
    report = run(node, HERE / "node" / "openid_client.mjs", live_server)
    announce(summary(report))
    assert report["version"] == PINNED["openid-client"]
    assert report["read"] == report["client_id"]
    assert report["updated"]
    assert report["deleted"]
    assert_registered(report)


def test_oauth4webapi(live_server: str, node: str, announce: Callable[[str], None]) -> None:
    """oauth4webapi registers public and secret clients, and reads, updates and deletes at the endpoint."""
    report = run(node, HERE / "node" / "oauth4webapi.mjs", live_server)
    announce(summary(report))
    assert report["version"] == PINNED["oauth4webapi"]
    assert report["read"] == report["client_id"]
    assert report["updated"]
    assert report["deleted"]
    assert_registered(report)


def test_mcp_typescript(live_server: str, node: str, announce: Callable[[str], None]) -> None:
    """The MCP TypeScript SDK finds the server from a protected resource and registers a public and a secret client."""
    report = run(node, HERE / "node" / "mcp_typescript.mjs", live_server)
    announce(summary(report))
    assert report["version"] == PINNED["@modelcontextprotocol/sdk"]
    assert_registered(report)


def test_mcp_python(live_server: str, announce: Callable[[str], None]) -> None:
    """The MCP Python SDK finds the server from a protected resource and registers a public and a secret client."""
    report = run(sys.executable, HERE / "mcp_python.py", live_server)
    announce(summary(report))
    assert report["version"] == version("mcp")
    assert_registered(report)


# --- from discovery to UserInfo ------------------------------------------------------------------------------------------


def assert_signed_in(report: dict[str, Any], announce: Callable[[str], None]) -> None:
    """The client learnt who signed in."""
    announce(f"{report['client']} {report['version']} (signed in): {report['client_id']} {report['sub']}")
    assert report["sub"]
    assert report["email"] == "alice@example.com"


def test_openid_client_signs_in(live_server: str, node: str, person: str, announce: Callable[[str], None]) -> None:
    """openid-client: a pushed request, the code flow with private_key_jwt and DPoP, UserInfo, refresh, revocation."""
    report = run(node, HERE / "node" / "openid_client_flow.mjs", live_server, person)
    assert_signed_in(report, announce)


def test_oauth4webapi_signs_in(live_server: str, node: str, person: str, announce: Callable[[str], None]) -> None:
    """oauth4webapi: the same, with RSA keys and a signed UserInfo answer, every signature verified."""
    report = run(node, HERE / "node" / "oauth4webapi_flow.mjs", live_server, person)
    assert_signed_in(report, announce)


def test_authlib_signs_in(live_server: str, person: str, announce: Callable[[str], None]) -> None:
    """Authlib: the code flow with a client secret and PKCE, UserInfo, refresh, revocation."""
    report = run(sys.executable, HERE / "authlib_flow.py", live_server, person)
    assert_signed_in(report, announce)


# --- from a refusal to a tool's answer -----------------------------------------------------------------------------------


def assert_served(report: dict[str, Any], announce: Callable[[str], None]) -> None:
    """A public and a confidential client each called the tool, before and after a refresh."""
    clients = [visit["client_id"] for visit in report["visits"]]
    announce(f"{report['client']} {report['version']} (called a tool, refreshed, called again): {' '.join(clients)}")
    assert len(set(clients)) == 2
    assert [visit["rotated"] for visit in report["visits"]] == [True, False]
    for visit in report["visits"]:
        first, second = visit["told"]
        assert first == second
        assert first["client_id"] == visit["client_id"]
        assert first["sub"] not in ("", visit["client_id"])
        # The Python SDK asks for offline_access too, which means nothing to this resource.
        assert first["scope"] == "notes"


def test_mcp_python_calls_a_tool(protected: Protected, announce: Callable[[str], None]) -> None:
    """The MCP Python SDK goes from a 401 to a tool's answer, and to another one with a refreshed token."""
    report = run(sys.executable, HERE / "mcp_python_flow.py", protected.resource, protected.person)
    assert report["version"] == version("mcp")
    assert_served(report, announce)


@pytest.mark.requirement("DISC-22")
def test_mcp_python_is_described_by_a_document(protected: Protected, announce: Callable[[str], None]) -> None:
    """The MCP Python SDK sees that documents are served, does not register, and goes all the way with a URL as its name."""
    report = run(sys.executable, HERE / "mcp_python_flow.py", protected.resource, protected.person, protected.document)
    (visit,) = report["visits"]
    announce(f"mcp {report['version']} (described): {visit['client_id']}")
    assert visit["client_id"] == protected.document
    assert visit["rotated"]
    for told in visit["told"]:
        assert told["client_id"] == protected.document
        assert told["scope"] == "notes"


def test_mcp_typescript_calls_a_tool(protected: Protected, node: str, announce: Callable[[str], None]) -> None:
    """The MCP TypeScript SDK goes from a 401 to a tool's answer, and to another one with a refreshed token."""
    report = run(node, HERE / "node" / "mcp_typescript_flow.mjs", protected.resource, protected.person)
    assert report["version"] == PINNED["@modelcontextprotocol/sdk"]
    assert_served(report, announce)


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "night-job", "version": "0"},
    },
}


@pytest.mark.parametrize(
    ("resource", "scope", "status", "error"),
    [
        ("notes", "notes", 200, None),
        ("notes", "calendar", 403, "insufficient_scope"),
        ("calendar", "notes", 401, "invalid_token"),
    ],
)
def test_the_mcp_server_tells_tokens_apart(
    protected: Protected, resource: str, scope: str, status: int, error: str | None
) -> None:
    """A good token of this issuer is refused by the MCP server where its audience or its scope is another."""
    asked = protected.resource if resource == "notes" else protected.other_resource
    token = httpx2.post(
        f"{protected.issuer}/token",
        auth=protected.machine,
        data={"grant_type": "client_credentials", "resource": asked, "scope": scope},
        trust_env=False,
    )
    assert token.status_code == 200, token.text
    answer = httpx2.post(
        protected.resource,
        json=INITIALIZE,
        headers={
            "accept": "application/json, text/event-stream",
            "authorization": f"Bearer {token.json()['access_token']}",
        },
        trust_env=False,
    )
    assert answer.status_code == status, answer.text
    challenge = answer.headers.get("www-authenticate", "")
    assert ('resource_metadata="' in challenge) == (error is not None)
    assert error is None or f'error="{error}"' in challenge
