"""Profiles that ship have a page each, which the table of contents names."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PROFILES = sorted(
    entry.name.removesuffix(".toml")
    for entry in (resources.files("registrar.policy") / "profiles").iterdir()
    if entry.name.endswith(".toml")
)


@pytest.mark.requirement("SEED-95")
@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_its_page(name: str) -> None:
    """A profile ships with a page that tells what it is for, how it is chosen, and what holds for its members."""
    page = (DOCS / "guide" / "profiles" / f"{name}.md").read_text("utf-8")

    assert page.startswith(f"# The profile `{name}`") or f"`{name}`" in page.partition("\n\n")[0]
    assert f'policy = "{name}"' in page or f'"{name}"' in page
    assert f"guide/profiles/{name}.md" in (DOCS / "README.md").read_text("utf-8")
