"""`registrar client`: list, show, suspend, resume, delete, rotate-secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from registrar.service import inventory

if TYPE_CHECKING:
    from conftest import Desk

ACTS = (["show"], ["suspend"], ["resume"], ["delete"], ["rotate-secret"])


def test_empty_registry(desk: Desk) -> None:
    """Nothing is said plainly, and is an empty list for programs."""
    assert desk.done("client", "list") == "none\n"
    assert desk.told("client", "list") == []


def test_list(desk: Desk) -> None:
    """Clients stand in the order in which they came, each whole on its line."""
    names = ["First", "Second"]
    ids = [desk.register({"client_name": name})["client_id"] for name in names]
    header, *lines = desk.done("client", "list").splitlines()

    assert header.split()[:2] == ["client_id", "state"]
    assert [line.split()[0] for line in lines] == ids
    assert [name in line for name, line in zip(names, lines, strict=True)] == [True, True]
    assert [row["client_id"] for row in desk.told("client", "list")] == ids


def test_list_filters(desk: Desk) -> None:
    """Filters by state, owner and token, and pages by the last identifier."""
    token = desk.told("token", "issue", "--uses", "0", "--owner", "ann")
    mine = [desk.register(token=token["token"])["client_id"] for _ in range(2)]
    other = desk.register()["client_id"]
    desk.done("client", "suspend", other)

    def listed(*options: str) -> list[str]:
        return [row["client_id"] for row in desk.told("client", "list", *options)]

    assert listed("--state", "suspended") == [other]
    assert listed("--state", "active") == mine
    assert listed("--owner", "ann") == mine
    assert listed("--token", token["token_id"]) == mine
    assert listed("--limit", "1") == mine[:1]
    assert listed("--after", mine[0]) == [mine[1], other]
    assert listed("--owner", "nobody") == []


def test_list_tells_of_more(desk: Desk) -> None:
    """Where a page is full, people are told how to go on, beside the table and not in it."""
    ids = [desk.register()["client_id"] for _ in range(2)]
    result = desk.run("client", "list", "--limit", "1")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert f"--after {ids[0]}" in result.stderr


def test_a_program_is_told_of_a_page_that_ends_early(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at for one page has an end; a page that is shorter for it must not pass for the last."""
    ids = [desk.register()["client_id"] for _ in range(3)]
    monkeypatch.setattr(inventory, "LOOKS", 2)
    result = desk.run("client", "list", "--json", "--limit", "100")

    assert [row["client_id"] for row in json.loads(result.stdout)] == ids[:2]
    assert f"--after {ids[1]}" in result.stderr
    assert len(desk.told("client", "list", "--limit", "2")) == 2


def test_show(desk: Desk) -> None:
    """Everything about a client is shown but its credentials, one redirect URI a line."""
    uris = ["https://app.example/one", "https://app.example/two"]
    answer = desk.register({"redirect_uris": uris, "scope": "openid"})
    printed = desk.done("client", "show", answer["client_id"])
    shown = desk.told("client", "show", answer["client_id"])

    assert shown["client_id"] == answer["client_id"]
    assert (shown["state"], shown["assurance"], shown["token_label"]) == ("active", "operator", "tests")
    assert shown["metadata"]["redirect_uris"] == uris
    assert [line.split()[-1] for line in printed.splitlines() if "https://app.example" in line] == uris
    for secret in (answer["client_secret"], answer["registration_access_token"]):
        assert secret not in printed
        assert secret not in str(shown)


def test_suspend_and_resume(desk: Desk) -> None:
    """A client goes from one state to the other and back; a step that makes no sense is refused."""
    client_id = desk.register()["client_id"]

    assert desk.done("client", "suspend", client_id, "--reason", "abuse").splitlines()[0] == "Suspended."
    assert desk.refused("client", "suspend", client_id) == f"{client_id} is suspended, not active"
    assert desk.told("client", "resume", client_id) == {"client_id": client_id, "state": "active"}
    assert desk.refused("client", "resume", client_id) == f"{client_id} is active, not suspended"


def test_delete(desk: Desk) -> None:
    """A deleted client stays to be looked at, and nothing can be done to it."""
    client_id = desk.register()["client_id"]

    assert desk.told("client", "delete", client_id) == {"client_id": client_id, "state": "deleted"}
    assert desk.told("client", "show", client_id)["state"] == "deleted"
    for act in ACTS[1:]:
        assert desk.refused("client", *act, client_id) == f"{client_id} is deleted"


def test_rotate_secret(desk: Desk) -> None:
    """The new secret is printed, with the time until which the old one works: the issuer's setting, or as told."""
    answer = desk.register()
    rotated = desk.told("client", "rotate-secret", answer["client_id"])
    shown = desk.told("client", "show", answer["client_id"])

    assert len(rotated["client_secret"]) == 86
    assert rotated["client_secret"] != answer["client_secret"]
    assert rotated["client_secret_expires_at"] == 0
    assert rotated["old_secret_works_until"] == shown["updated_at"] + 86_400
    assert rotated["client_secret"] not in str(shown)
    # Without an overlap none of the former ones goes on.
    assert desk.told("client", "rotate-secret", answer["client_id"], "--overlap", "0")["old_secret_works_until"] is None
    assert "New secret." in desk.done("client", "rotate-secret", answer["client_id"], "--overlap", "60")


def test_rotate_the_secret_of_a_public_client(desk: Desk) -> None:
    """A client that has no secret gets none."""
    client_id = desk.register({"token_endpoint_auth_method": "none"})["client_id"]

    assert desk.refused("client", "rotate-secret", client_id) == f"{client_id} authenticates without a secret"


@pytest.mark.parametrize("act", ACTS)
def test_unknown_client(desk: Desk, act: list[str]) -> None:
    """What is not there is told in one line, whatever was to be done with it."""
    assert desk.refused("client", *act, "nobody") == "there is no client nobody at main"
    assert desk.refused("client", *act, "nobody", "--json") == "there is no client nobody at main"


@pytest.mark.parametrize("arguments", [["show"], ["list", "--state", "odd"], ["list", "--limit", "0"], ["fly", "x"]])
def test_misuse(desk: Desk, arguments: list[str]) -> None:
    """A missing identifier, an unknown state, or no such command is a mistake of usage."""
    assert desk.misused("client", *arguments).startswith("Usage: registrar client")


def test_create(desk: Desk) -> None:
    """The operator makes a client that earns tokens to register with; its credentials are printed this once."""
    options = ("--name", "Bootstrap", "--grant-type", "client_credentials", "--scope", "dcr")
    made = desk.told("client", "create", *options)

    assert (made["scope"], made["grant_types"]) == ("dcr", ["client_credentials"])
    assert made["client_secret"]
    shown = desk.told("client", "show", made["client_id"])
    assert (shown["assurance"], shown["metadata"]["scope"]) == ("operator", "dcr")
    assert made["client_secret"] not in desk.done("client", "show", made["client_id"])
    assert "last_used_at" not in shown


def test_create_is_judged(desk: Desk) -> None:
    """What would endanger people is refused, naming the member."""
    assert "redirect_uris[0]" in desk.refused("client", "create", "--redirect-uri", "javascript:x")


def test_who_reads_may_have_seen_enough(desk: Desk) -> None:
    """Output that nobody reads any more, as of `| head`, is no failure that an operator has to read about."""
    desk.register()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        command = [sys.executable, "-m", "registrar", "client", "export"]
        ended = subprocess.run(command, cwd=desk.folder, stdout=nobody, stderr=subprocess.PIPE, timeout=60, check=False)
    assert ended.stderr == b""
