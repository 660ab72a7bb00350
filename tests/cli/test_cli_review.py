"""`registrar review`: what an operator looks at and decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Desk

POLICY = """
[policy.watched]
extends = ["default"]
[policy.watched.review]
all = true
"""


@pytest.fixture
def held(desk: Desk) -> str:
    """A client that is held."""
    text = desk.configuration.read_text("utf-8")
    assert 'policy = "default"' in text
    desk.configuration.write_text(text.replace('policy = "default"', 'policy = "watched"') + POLICY, "utf-8")
    client_id: str = desk.register()["client_id"]
    return client_id


def test_what_is_held_is_listed_and_shown(desk: Desk, held: str) -> None:
    """With why it is held."""
    assert desk.told("review", "list")[0]["reason"] == "every registration is looked at"
    assert "every registration is looked at" in desk.done("review", "list")
    assert desk.told("review", "show", held)["metadata"]["client_name"] == "Example"
    assert "Z\n" in desk.done("review", "show", held).partition("since")[2][:40]
    assert "nothing is held of nobody" in desk.refused("review", "show", "nobody")


def test_it_is_approved_once(desk: Desk, held: str) -> None:
    """With the digest of what was looked at, and not without: what came meanwhile is not approved unseen."""
    assert "Missing option '--digest'" in desk.misused("review", "approve", held)
    assert "not what was looked at" in desk.refused("review", "approve", held, "--digest", "x")
    digest = desk.told("review", "show", held)["digest"]
    assert desk.told("review", "approve", held, "--digest", digest, "--reason", "known")["state"] == "active"
    assert "nothing is held" in desk.refused("review", "approve", held, "--digest", digest)
    assert desk.told("review", "list") == []


def test_it_is_rejected(desk: Desk, held: str) -> None:
    """And ends."""
    assert desk.told("review", "reject", held, "--reason", "unknown")["state"] == "deleted"
    assert desk.told("audit", "list", "--kind", "review.rejected")[0]["reason"] == "unknown"
