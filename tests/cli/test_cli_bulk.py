"""`registrar client bulk`, `client reissue-token` and `token revoke --cascade`."""

from __future__ import annotations

import json
import signal
import stat
from typing import TYPE_CHECKING, Any

import pytest

from registrar.service import bulk

if TYPE_CHECKING:
    from conftest import Desk
    from registrar.service.bulk import Job


def states(desk: Desk) -> list[str]:
    """The states of all clients."""
    return [one["state"] for one in desk.told("client", "list")]


@pytest.mark.requirement("SEED-59")
def test_counted_and_done(desk: Desk) -> None:
    """A dry run changes nothing; without --yes it is asked first; the job is listed afterwards."""
    token = desk.issue("--uses", "0")
    for software in ("planner", "planner", "reader"):
        desk.register({"software_id": software}, token)
    which = ("--software", "planner", "--reason", "CVE")
    assert desk.told("client", "bulk", "suspend", *which, "--dry-run") == {
        "act": "suspend",
        "clients": 2,
        "would_change": 2,
    }
    refused = desk.run("client", "bulk", "suspend", *which, input="n\n")
    assert refused.exit_code == 1
    assert "2 of 2 clients: suspend?" in refused.stderr
    assert states(desk) == ["active"] * 3
    done = desk.told("client", "bulk", "suspend", *which, "--yes")
    assert (done["state"], done["changed"]) == ("finished", 2)
    assert states(desk) == ["suspended", "suspended", "active"]
    assert desk.run("client", "bulk", "resume", "--all", input="y\n").exit_code == 0
    assert states(desk) == ["active"] * 3
    assert [one["act"] for one in desk.told("client", "bulk", "list")] == ["suspend", "resume"]
    assert "finished" in desk.refused("client", "bulk", "continue", done["job_id"])
    assert "finished" in desk.refused("client", "bulk", "stop", done["job_id"])


@pytest.mark.requirement("SEED-59")
def test_new_secrets_in_a_file(desk: Desk) -> None:
    """They go into a file that was not there and that nobody else reads; not onto the screen."""
    clients = [desk.register(token=desk.issue()) for _ in range(3)]
    file = desk.folder / "secrets.jsonl"
    printed = desk.done("client", "bulk", "rotate-secret", "--all", "--yes", "--secrets", str(file), "--overlap", "60")
    rows = [json.loads(line) for line in file.read_text().splitlines()]

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {one["client_id"] for one in rows} == {one["client_id"] for one in clients}
    assert all(one["client_secret"] not in printed for one in rows)
    assert "File exists" in desk.refused("client", "bulk", "rotate-secret", "--all", "--yes", "--secrets", str(file))
    assert len(desk.told("client", "bulk", "list")) == 1


def test_misused(desk: Desk) -> None:
    """A selection has to be one."""
    assert "asks for something" in desk.refused("client", "bulk", "delete", "--yes")
    assert "asks for something" in desk.refused("client", "bulk", "delete", "--yes", "--all", "--owner", "x")
    assert "NAME=VALUE" in desk.misused("client", "bulk", "delete", "--labelled", "tenant", "--yes")
    assert "no job" in desk.refused("client", "bulk", "continue", "none")


def test_broken_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who presses Ctrl-C is told how it goes on, and it does; how many clients were looked at is a number."""
    desk.register()
    page_done = bulk._page_done

    async def interrupted(*arguments: Any) -> Job:
        signal.raise_signal(signal.SIGINT)
        return await page_done(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(bulk, "_page_done", interrupted)
        ended = desk.run("client", "bulk", "suspend", "--all", "--yes")
    (job,) = desk.told("client", "bulk", "list")
    assert (ended.exit_code, job["state"]) == (1, "open")
    assert f"`registrar client bulk continue {job['job_id']}` goes on" in ended.stderr
    printed = desk.done("client", "bulk", "continue", job["job_id"])
    assert "looked_at    1\n" in printed
    assert states(desk) == ["suspended"]


@pytest.mark.parametrize("option", ["--labelled", "--label"])
def test_selecting_by_label(desk: Desk, option: str) -> None:
    """By the option that `client list` has, and by the older one."""
    token = desk.told("token", "issue", "--labelled", "tenant=acme")
    desk.register(token=token["token"])
    desk.register()
    told = desk.told("client", "bulk", "delete", option, "tenant=acme", "--dry-run")
    assert told["would_change"] == 1


@pytest.mark.requirement("SEED-59")
def test_a_token_and_what_it_made(desk: Desk) -> None:
    """Revoking it ends what was registered with it where that is asked for, and nothing else."""
    first, second = (desk.told("token", "issue", "--uses", "0") for _ in range(2))
    for token in (first, first, second):
        desk.register(token=token["token"])
    told = desk.told("token", "revoke", first["token_id"], "--cascade", "delete")
    assert (told["status"], told["changed"]) == ("revoked", 2)
    assert sorted(states(desk)) == ["active", "deleted", "deleted"]
    assert desk.told("token", "revoke", first["token_id"], "--cascade", "delete")["changed"] == 0
    assert "revoked already" in desk.refused("token", "revoke", first["token_id"])
    desk.told("token", "revoke", second["token_id"])
    assert sorted(states(desk)) == ["active", "deleted", "deleted"]


def test_a_lost_token(desk: Desk) -> None:
    """What it does is said before it is done."""
    client = desk.register()
    asked = desk.run("client", "reissue-token", client["client_id"], input="n\n")
    assert asked.exit_code == 1
    assert "end at once. It gets a new secret too, and the old one works for 86400 s." in asked.stderr
    told = desk.told("client", "reissue-token", client["client_id"], "--yes", "--reason", "lost")
    assert told["registration_access_token"] != client["registration_access_token"]
    assert told["client_secret"] != client["client_secret"]
    assert told["registration_client_uri"] == client["registration_client_uri"]
    public = desk.register({"token_endpoint_auth_method": "none"})
    asked = desk.run("client", "reissue-token", public["client_id"], "--json", input="y\n")
    assert "new secret" not in asked.stderr
    assert "client_secret" not in asked.stdout
