"""`registrar demo`: a story that is a check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from registrar.cli.demonstration import STEPS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Desk, Live, OddIssuer

EVERYWHERE = [step.name for step in STEPS if not step.operator]


def steps(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a demonstration, one a line."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.requirement("SEED-54")
def test_own_server(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL a server is started for it; every step is as explained, and nothing is left behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = sorted(tmp_path.iterdir())
    told = steps(desk.done("demo", "--json"))

    assert [step["name"] for step in told] == [step.name for step in STEPS]
    assert [step["step"] for step in told] == list(range(1, len(STEPS) + 1))
    assert all(step["as_explained"] for step in told)
    statuses = {step["name"]: step.get("status") for step in told}
    assert (statuses["refusal"], statuses["registration"], statuses["stranger"]) == (400, 201, 401)
    assert (statuses["deletion"], statuses["read after deletion"]) == (204, 401)
    (audit,) = [step for step in told if step["name"] == "audit"]
    assert "client.secret_rotated" in {event["kind"] for event in audit["events"]}
    assert sorted(tmp_path.iterdir()) == before


def test_plain_text(desk: Desk) -> None:
    """In a pipe it is plain text: numbered steps, each with its request, the answer, and that it is as explained."""
    text = desk.done("demo")

    assert text.replace("\n", "").isprintable()
    assert text.count("\n   as explained\n") == len(STEPS)
    assert text.endswith(f"All {len(STEPS)} steps were as explained.\n")
    assert "POST http://127.0.0.1:" in text
    assert "redirect_uris[1]: the scheme javascript" in text
    assert "$ registrar client rotate-secret" in text


def test_secrets_are_cut(desk: Desk) -> None:
    """No credential is shown whole: six characters tell them apart."""
    for step in steps(desk.done("demo", "--json")):
        for members in (step.get("answer", {}), step.get("request", {}).get("body", {})):
            for name in ("client_secret", "registration_access_token"):
                assert len(members.get(name, "")) in (0, 9)
        assert len(step.get("request", {}).get("authorization", "")) in (0, len("Bearer ") + 9)


def test_running_server(live: Live) -> None:
    """At a URL it plays what needs no operator, and leaves no client."""
    told = steps(live.done("demo", live.open_url, "--json"))
    (registration,) = [step for step in told if step["name"] == "registration"]
    shown = live.told("client", "show", registration["answer"]["client_id"], "--issuer", "open")

    assert [step["name"] for step in told] == EVERYWHERE
    assert shown["state"] == "deleted"


def test_running_server_with_a_token(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where registration needs a token, one that may be used once is enough; the refusal does not use it up."""
    monkeypatch.setenv("REGISTRAR_INITIAL_ACCESS_TOKEN", live.issue("--issuer", "main"))
    told = steps(live.done("demo", live.url, "--json"))

    assert all(step["as_explained"] for step in told)


def test_step_that_fails(live: Live) -> None:
    """A step that does not behave as explained ends it with exit status 1, and says which and why."""
    result = live.run("demo", live.url)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: step 2 (refusal) is not as explained: the server answers 401")
    assert "not as explained: the server answers 401" in result.stdout
    assert "3. " not in result.stdout


def test_clean_up(odd_issuer: OddIssuer, desk: Desk) -> None:
    """A demonstration that ends early deletes what it has registered."""
    management = {"registration_access_token": "t", "registration_client_uri": f"{odd_issuer.url}/register/c1"}
    odd_issuer.answer = lambda sent: (201, {**sent, "client_id": "c1", **management})
    result = desk.run("demo", odd_issuer.url, "--json")

    assert result.exit_code == 1
    assert "step 2 (refusal) is not as explained: it was registered" in result.stderr
    assert [step["as_explained"] for step in steps(result.stdout)] == [True, False]
    assert odd_issuer.asked[-1] == "DELETE /register/c1"


def test_hostile_answers(odd_issuer: OddIssuer, desk: Desk) -> None:
    """Nothing that a server answers steers the terminal, and faults of an odd form do not end in a traceback."""
    hostile = "a\x1b[2J\x9b2J\u202eb"
    odd_issuer.answer = lambda _: (400, {"error": hostile, "error_description": hostile, "faults": [hostile, 7, {}]})
    people, programs = desk.run("demo", odd_issuer.url), desk.run("demo", odd_issuer.url, "--json")

    assert (people.exit_code, programs.exit_code) == (1, 1)
    for result in (people, programs):
        assert (result.stdout + result.stderr).replace("\n", "").isprintable()
    assert steps(programs.stdout)[1]["answer"]["error"] == hostile


@pytest.mark.parametrize("arguments", [["http://as.example.com"], ["--token", "x"], ["not a url"]])
def test_misuse(desk: Desk, arguments: list[str]) -> None:
    """An address that nothing may be sent to, or a token without an address, is a mistake of usage."""
    assert desk.misused("demo", *arguments).startswith("Usage: registrar demo")


def test_told_to_end(tmp_path: Path) -> None:
    """A demonstration that is told to end takes its server with it."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "registrar", "demo", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.terminate()
        process.stdout.read()

    assert first["name"] == "discovery"
    assert process.returncode in (0, 143)
    assert list(tmp_path.iterdir()) == []
