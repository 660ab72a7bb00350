"""`registrar token`: issue, list, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registrar.service.ports import EventQuery

if TYPE_CHECKING:
    from conftest import Desk
    from registrar.service.registry import Registry


def test_issue(desk: Desk) -> None:
    """The value is printed once, with what the token is for; the list has all but the value."""
    printed = desk.done("token", "issue", "--label", "CI", "--owner", "ann", "--uses", "0", "--kind", "user")
    value = next(line.split()[1] for line in printed.splitlines() if line.split()[0] == "token")
    (row,) = desk.told("token", "list")

    assert len(value) == 43
    assert "shown this once" in printed
    assert "unlimited" in printed
    assert (row["label"], row["owner"], row["kind"], row["max_uses"]) == ("CI", "ann", "user", 0)
    assert (row["status"], row["expires_at"], row["scope"]) == ("active", 0, "dcr")
    assert value not in desk.done("token", "list")
    assert value not in str(row)


def test_issue_for_programs(desk: Desk) -> None:
    """JSON has the value and exact numbers."""
    issued = desk.told("token", "issue", "--expires-in", "60", "--uses", "3", "--scope", "dcr extra")

    assert issued["expires_at"] == issued["created_at"] + 60
    assert (issued["uses"], issued["max_uses"], issued["scope"]) == (0, 3, "dcr extra")
    assert len(issued["token"]) == 43


def test_uses_are_counted(desk: Desk) -> None:
    """A registration counts as a use, and a token without a use left says so."""
    desk.register()
    (row,) = desk.told("token", "list")

    assert (row["uses"], row["max_uses"], row["status"]) == (1, 1, "spent")


def test_list(desk: Desk) -> None:
    """Nothing is said plainly; tokens stand in the order in which they were issued, each on its line."""
    assert desk.done("token", "list") == "none\n"
    assert desk.told("token", "list") == []
    for label in ("first", "second"):
        desk.issue("--label", label)
    header, first, second = desk.done("token", "list").splitlines()

    assert header.split()[:3] == ["token_id", "kind", "status"]
    assert first.rstrip().endswith("first")
    assert second.rstrip().endswith("second")


def test_revoke(desk: Desk) -> None:
    """A revoked token stays in the list as such; revoking it again is refused."""
    token_id = desk.told("token", "issue")["token_id"]

    assert desk.done("token", "revoke", token_id).splitlines()[0] == "Revoked."
    assert desk.told("token", "list")[0]["status"] == "revoked"
    assert desk.refused("token", "revoke", token_id) == f"the initial access token {token_id} is revoked already"
    assert desk.refused("token", "revoke", "0") == "there is no initial access token 0 at main"


def test_revoke_for_programs(desk: Desk) -> None:
    """JSON says what was done to what."""
    token_id = desk.told("token", "issue")["token_id"]

    assert desk.told("token", "revoke", token_id) == {"token_id": token_id, "status": "revoked"}


@pytest.mark.requirement("SEED-18")
def test_issue_bound(desk: Desk) -> None:
    """A token may be bound to networks and to a certificate, and the list says to what."""
    issued = desk.told("token", "issue", "--address", "10.0.0.0/8", "--address", "::1", "--certificate", "A" * 43)

    assert issued["bound_to"] == "address certificate"
    assert desk.told("token", "list")[0]["bound_to"] == "address certificate"
    assert "an address, or a network" in desk.refused("token", "issue", "--address", "10.0.0.1/8")
    assert "43 characters" in desk.refused("token", "issue", "--certificate", "CN=app")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--policy", "nowhere"], "there is no policy nowhere at main"),
        (["--kind", "user"], "a token of a user needs its owner"),
        (["--attestation"], "main has no attestation function, so nothing could be attested"),
    ],
)
def test_issue_refused(desk: Desk, options: list[str], reason: str) -> None:
    """A token that could never be used is not issued."""
    assert desk.refused("token", "issue", *options) == reason
    assert desk.told("token", "list") == []


@pytest.mark.parametrize("options", [["--uses", "-1"], ["--expires-in", "x"], ["--kind", "god"], ["--what"]])
def test_issue_misused(desk: Desk, options: list[str]) -> None:
    """What is no such option or value is a mistake of usage."""
    assert options[0] in desk.misused("token", "issue", *options)


def test_who_acted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit has the command and, where somebody can be named, the person."""
    monkeypatch.setenv("LOGNAME", "ann")
    desk.issue()
    token_id = desk.told("token", "list")[0]["token_id"]
    desk.done("token", "revoke", token_id)

    found: list[bytes] = []

    async def look(registry: Registry) -> None:
        for one in await registry.store.events(EventQuery(kind="token.revoked")):
            found.extend((one.event.body, one.event.personal))

    desk.open(look)
    body, personal = found
    assert b'"endpoint":"registrar token revoke"' in body
    assert b'"authentication":"local"' in body
    assert b"ann" not in body
    assert b"ann" in personal


def test_user_without_a_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container that runs as a number, commands work as well."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)

    assert desk.issue()
