"""`registrar key-file`: keys replaced while servers go on."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from registrar.cli import key_file

if TYPE_CHECKING:
    from conftest import Desk

SYMMETRIC = {"token_endpoint_auth_method": "client_secret_jwt"}


def test_a_key_is_replaced(desk: Desk) -> None:
    """Rotated, wrapped anew, retired; a key that is in use is not."""
    desk.register(SYMMETRIC)
    (first,) = desk.told("key-file", "list")
    assert (first["use"], first["wrapped"] > 0) == ("wraps and opens", True)
    new = desk.told("key-file", "rotate")["label"]
    assert "and servers may still store" in desk.refused("key-file", "retire", first["label"])
    _settled(desk)
    assert f"values lie under {first['label']}" in desk.refused("key-file", "retire", first["label"])
    assert desk.told("key-file", "rewrap") == {"label": new, "rewrapped": first["wrapped"]}
    desk.register(SYMMETRIC)
    rows = desk.told("key-file", "list")
    assert [(one["label"], one["use"], one["wrapped"]) for one in rows] == [
        (new, "wraps and opens", first["wrapped"] + 1),
        (first["label"], "opens", 0),
    ]
    assert desk.told("key-file", "retire", first["label"])["label"] == first["label"]
    assert "there is no key" in desk.refused("key-file", "rotate", "--use", first["label"])
    assert [one["label"] for one in desk.told("key-file", "list")] == [new]


def test_what_a_killed_command_left_behind_goes(desk: Desk) -> None:
    """It holds keys, and a key that is retired must be nowhere; an operator's own copy is left alone."""
    path = next(desk.folder.rglob("*.key"))
    left, copy = path.with_name(f".{path.name}.4711.unfinished"), path.with_name(f".{path.name}.20261126")
    for one in (left, copy):
        one.write_text(path.read_text())
    desk.told("key-file", "rotate")
    assert not left.exists()
    assert copy.exists()
    assert [one.name for one in path.parent.iterdir() if one.name.endswith(".unfinished")] == []


def test_on_several_machines(desk: Desk) -> None:
    """A key is known everywhere before it wraps anywhere."""
    (first,) = desk.told("key-file", "list")
    added = desk.told("key-file", "add")["label"]
    assert [one["label"] for one in desk.told("key-file", "list")] == [first["label"], added]
    assert desk.told("key-file", "rotate", "--use", added)["label"] == added
    assert [one["label"] for one in desk.told("key-file", "list")] == [added, first["label"]]


def test_a_key_that_is_missing_is_told(desk: Desk) -> None:
    """What lies under a key that is in the file no more stands in the list, and a rewrapping counts it."""
    desk.register(SYMMETRIC)
    (first,) = desk.told("key-file", "list")
    new = desk.told("key-file", "rotate")["label"]
    path = next(desk.folder.rglob("*.key"))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert [(one["label"], one["use"], one["wrapped"]) for one in desk.told("key-file", "list")] == [
        (new, "wraps and opens", 0),
        (first["label"], "missing", first["wrapped"]),
    ]
    assert desk.told("key-file", "rewrap") == {"label": new, "rewrapped": 0, "unreadable": first["wrapped"]}
    path.unlink()
    assert "there is no key file" in desk.refused("key-file", "list")


def _settled(desk: Desk) -> None:
    """Let the file be as old as it has to be."""
    path = next(desk.folder.rglob("*.key"))
    then = time.time() - key_file.SETTLED - 1
    os.utime(path, (then, then))


@pytest.mark.parametrize("command", ["list", "add", "rotate", "rewrap"])
def test_help(desk: Desk, command: str) -> None:
    """Each takes the options that it needs, and no issuer: these keys are of none."""
    printed = desk.done("key-file", command, "--help")
    assert "--config FILE" in printed
    assert "--issuer" not in printed
