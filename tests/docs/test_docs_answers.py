"""What the pages must answer, because the specifications leave it to each server."""

from __future__ import annotations

import re

import pytest
from fenced import PROJECT

from registrar.domain.access_token import Kind
from registrar.domain.settings import Mode

GUIDE = PROJECT / "docs" / "guide"


def section(page: str, heading: str) -> str:
    """The text of a page under a heading, to the next heading of any depth."""
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


@pytest.mark.requirement("SEED-8")
def test_how_an_initial_access_token_is_come_by() -> None:
    """Each mode and each kind of token is explained, and the tutorial gets one and registers with it."""
    concepts, tutorial = ((GUIDE / name).read_text("utf-8") for name in ("concepts.md", "tutorial.md"))
    modes = section(concepts, "Mode")
    steps = section(tutorial, "Initial access tokens")

    assert all(f"`{mode}`" in modes for mode in Mode)
    assert all(f"`{kind}`" in modes for kind in Kind)
    # These blocks are run, in this order, by test_blocks.
    assert steps.index("registrar token issue") < steps.index("Authorization: Bearer $INITIAL")


@pytest.mark.requirement("SEED-78")
def test_registration_is_told_from_its_neighbours() -> None:
    """The concepts say what else is taken for registration, each with its own specification."""
    table = section((GUIDE / "concepts.md").read_text("utf-8"), "Neighbours that it is often taken for")
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in table.splitlines() if "|" in line}

    assert {
        "authorization server metadata": "RFC 8414",
        "protected resource metadata": "RFC 9728",
        "token issuance": "RFC 6749",
        "consent": "RFC 6749 §3.1",
        "management": "RFC 7592",
    }.items() <= rows.items()
    assert "client ID metadata documents" in rows


@pytest.mark.parametrize(
    "name", ["README.md", "docs/divergences.md", "docs/guide/concepts.md", "docs/guide/developing.md"]
)
def test_rfc_7592_is_called_experimental(name: str) -> None:
    """Wherever management is introduced, the reader is told that its RFC is Experimental."""
    page = " ".join((PROJECT / name).read_text("utf-8").split())

    assert re.search(r"RFC 7592.{0,200}Experimental", page)
