"""`registrar keys`: list, rotate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Desk

ALGORITHMS = {"RS256", "ES256", "EdDSA"}


def test_rotate(desk: Desk) -> None:
    """Each rotation makes a key of each algorithm that signs; the one before is published for a while."""
    assert desk.done("keys", "list") == "none\n"
    first = desk.told("keys", "rotate")
    second = desk.told("keys", "rotate")
    rows = desk.told("keys", "list")

    assert {key["algorithm"] for key in first} == {key["algorithm"] for key in second} == ALGORITHMS
    status = {row["kid"]: row["status"] for row in rows}
    assert {status[key["kid"]] for key in first} == {"published"}
    assert {status[key["kid"]] for key in second} == {"signs"}
    assert all((row["published_until"] > row["created_at"]) == (row["status"] == "published") for row in rows)
    assert all(row["kid"] in desk.done("keys", "list") for row in rows)


def test_rotate_one(desk: Desk) -> None:
    """One algorithm can be rotated alone, and its old key be withdrawn at once."""
    desk.done("keys", "rotate")
    (made,) = desk.told("keys", "rotate", "--algorithm", "ES256", "--withdraw")
    rows = desk.told("keys", "list")

    assert len(rows) == len(ALGORITHMS)
    assert {row["status"] for row in rows} == {"signs"}
    assert made["kid"] in {row["kid"] for row in rows}
