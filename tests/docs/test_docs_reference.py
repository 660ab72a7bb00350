"""What is written about the program's tables is what stands in them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from fenced import PROJECT, pages

import registrar

LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def test_reference_pages_are_current() -> None:
    """Each page of docs/reference is what docs/generate.py would write."""
    check = subprocess.run(
        [sys.executable, PROJECT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )

    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["run", "dev"])
def test_dependencies_are_accounted_for(name: str) -> None:
    """Each direct dependency has its line in the decisions, and no line is left over."""
    asked = (PROJECT / "requirements" / f"{name}.in").read_text("utf-8").split("\n")
    wanted = {line.strip() for line in asked if line.strip() and not line.startswith(("-", "#"))}
    page = (PROJECT / "docs" / "decisions" / "dependencies.md").read_text("utf-8")
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]

    assert set(re.findall(r"^- `([^`]+)`", section, re.MULTILINE)) == wanted


def test_links_lead_somewhere() -> None:
    """Each link to a file of the project leads to one, and each fragment to a heading of it."""
    lost = []
    for page in pages():
        for target in (a or b for a, b in LINK.findall(BLOCK.sub("", page.read_text("utf-8")))):
            if "://" in target or target.startswith("mailto:"):
                continue
            name, _, fragment = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if not path.exists() or (fragment and fragment not in anchors(path.read_text("utf-8"))):
                lost.append(f"{page.relative_to(PROJECT)}: {target}")

    assert lost == []


def anchors(text: str) -> set[str]:
    """The fragments that the headings of a page answer to."""
    plain = (heading.lower().replace(" ", "-") for heading in HEADING.findall(BLOCK.sub("", text)))
    return {"".join(letter for letter in one if letter.isalnum() or letter in "-_") for one in plain}


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to every page of docs."""
    index = PROJECT / "docs" / "README.md"
    linked = {(index.parent / a).resolve() for a, _ in LINK.findall(index.read_text("utf-8")) if "://" not in a}
    written = {page for page in pages() if page.is_relative_to(index.parent)} - {index}

    assert {str(page.relative_to(PROJECT)) for page in written - linked} == set()


def test_changelog_knows_the_version() -> None:
    """The version of the program stands in the changelog."""
    assert f"## [{registrar.__version__}]" in (PROJECT / "CHANGELOG.md").read_text("utf-8")
