"""`registrar document`: clients that nobody registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Desk

URL = "https://app.example/client.json"


def test_life(desk: Desk) -> None:
    """Blocked by its URL before it was ever seen, shown, listed, allowed again, forgotten."""
    assert desk.done("document", "list") == "none\n"
    assert desk.told("document", "block", URL, "--reason", "an imitation") == {"client_id": URL, "state": "blocked"}
    (row,) = desk.told("document", "list")
    shown = desk.told("document", "show", URL)
    allowed = desk.told("document", "allow", URL, "--reason", "a mistake")
    forgotten = desk.told("document", "forget", URL)

    assert (row["state"], row["reason"], row["client_id"]) == ("blocked", "an imitation", URL)
    assert shown == row
    assert allowed["state"] == "lapsed"  # nothing of it is believed until it is fetched
    assert forgotten == {"client_id": URL}
    assert desk.done("document", "list") == "none\n"


def test_refusals(desk: Desk) -> None:
    """What makes no sense is told."""
    assert "there is no document" in desk.refused("document", "show", URL)
    assert "there is no document" in desk.refused("document", "forget", URL)
    assert "there is no document" in desk.refused("document", "allow", URL)
    assert "not an https URL" in desk.refused("document", "block", "http://app.example/c")
