"""What reaches a terminal, and what a pipe."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from registrar.cli.render import Output, printable

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Desk

HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b2J\x7f\u202eb\r\nc\u2028d\u200b"
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(folder: Path, columns: int, *arguments: str) -> str:
    """What a command prints on a terminal of this width, without the styles of our own."""
    reader, writer = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "registrar", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=writer, stderr=writer) as process:
        os.close(writer)
        chunks = []
        while True:
            try:
                chunk = os.read(reader, 4096)
            except OSError:  # how Linux says that the last writer is gone
                break
            if not chunk:
                break
            chunks.append(chunk)
        os.close(reader)
    assert process.returncode == 0
    return STYLE.sub("", b"".join(chunks).decode()).replace("\r\n", "\n")


def test_names_of_strangers(desk: Desk) -> None:
    """A name that would steer the terminal is shown without what would, in tables, in records and in JSON."""
    client_id = desk.register()["client_id"]
    desk.rename(client_id, HOSTILE)
    shown = [desk.done("client", command, *which) for command, *which in (["list"], ["show", client_id])]
    programs = desk.done("client", "show", client_id, "--json")

    for text in (*shown, programs):
        assert text.replace("\n", "").isprintable()
    assert all("a?]0;title??[2J?2J??b? c?d?" in text for text in shown)
    assert json.loads(programs)["metadata"]["client_name"] == HOSTILE


def test_names_on_a_terminal(desk: Desk) -> None:
    """On a terminal too, where our own styles are the only escape sequences."""
    desk.rename(desk.register()["client_id"], HOSTILE)

    assert on_a_terminal(desk.folder, 120, "client", "list").replace("\n", "").isprintable()


def test_labels_of_operators(desk: Desk) -> None:
    """What the operator typed is held to the same."""
    desk.done("token", "issue", "--label", HOSTILE)

    assert desk.done("token", "list").replace("\n", "").isprintable()
    assert desk.told("token", "list")[0]["label"] == HOSTILE
    assert desk.refused("client", "show", HOSTILE).isprintable()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_identifiers_are_never_folded(desk: Desk, columns: int) -> None:
    """However narrow the terminal or long the names, an identifier can be copied whole."""
    client_id = desk.register({"client_name": "A name that goes on and on " * 20})["client_id"]
    token_id = desk.told("token", "list")[0]["token_id"]

    assert client_id in on_a_terminal(desk.folder, columns, "client", "list").split()
    assert token_id in on_a_terminal(desk.folder, columns, "token", "list").split()
    assert client_id in desk.done("client", "list").splitlines()[1].split()


def test_one_line_each_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe even sentences are not folded; what is longer than a cell is cut, except for them."""
    row = {"some_id": "i" * 500, "name": "n" * 500, "reason": "r " * 500}
    Output(as_json=False).table([row], ("some_id", "name", "reason"), prose=("reason",))
    header, line = capsys.readouterr().out.splitlines()

    assert header.split() == ["some_id", "name", "reason"]
    assert line.split()[:2] == ["i" * 500, "n" * 59 + "…"]
    assert line.count("r") == 500


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_sentences_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a sentence is folded to fit and loses no word; the values beside it are not folded."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    row = {"member": "token_endpoint_auth_method", "rule": "a.rule.of.some.length", "reason": "many words " * 20}
    Output(as_json=False).table([row], ("member", "rule", "reason"), prose=("reason",))
    lines = STYLE.sub("", terminal.getvalue()).splitlines()

    assert len(lines) > 3
    assert max(map(len, lines)) <= 100
    assert lines[1].split()[:2] == [row["member"], row["rule"]]
    assert " ".join(lines).split().count("words") == 20


def test_columns_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    """A column in which nothing stands is left out."""
    Output(as_json=False).table([{"a": "1", "b": ""}, {"a": "2", "b": None}], ("a", "b", "c"))

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["a"], ["1"], ["2"]]


def test_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Members are aligned, times are dates, lists have a line for each value, and objects are indented."""
    members = {
        "expires_at": 0,
        "created_at": 1_790_000_000,
        "far_at": 10**30,
        "uris": ["https://a.example", "https://b.example"],
        "nothing": None,
        "empty": [],
        "flag": False,
        "inner": {"x": 1, "jwks": {"keys": [{"kid": "é"}]}},
    }
    Output(as_json=False).record(members, "Heading")

    assert capsys.readouterr().out.splitlines() == [
        "Heading",
        "  expires_at  never",
        "  created_at  2026-09-21 14:13:20Z",
        f"  far_at      {10**30}",
        "  uris        https://a.example",
        "              https://b.example",
        "  empty       none",
        "  flag        false",
        "  inner",
        "    x     1",
        "    jwks",
        '      keys  [{"kid": "é"}]',
    ]


def test_json_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON holds every character, escaped where it is not to be seen."""
    members = {"name": f"日本 {HOSTILE}\U000e0001\ud800", HOSTILE: [HOSTILE]}
    Output(as_json=True).record(members)
    text = capsys.readouterr().out

    assert json.loads(text) == members
    assert "日本" in text
    assert text.replace("\n", "").isprintable()


def test_printable() -> None:
    """Letters of all languages stay; what cannot be seen becomes a question mark, and other spaces a space."""
    assert printable("Grüße, 日本\u3000x\u00a0y") == "Grüße, 日本 x y"
    assert printable("one\ntwo\tthree") == "one two?three"
