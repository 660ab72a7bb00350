"""What the pages show is what happens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fenced import LANGUAGES, PROJECT, Page, pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FENCE = re.compile(r"^\s*```+(.*)$", re.MULTILINE)
WITH_BLOCKS = [page for page in pages() if FENCE.search(page.read_text("utf-8"))]


def named(page: Path) -> str:
    """A page as the report of the tests names it."""
    return str(page.relative_to(PROJECT))


@pytest.fixture
def registry(path: Path, request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """What leads a page to PostgreSQL, where it has something to do there: an empty database of that name."""
    if "postgresql:///registry" not in path.read_text("utf-8"):
        yield {}
        return
    server = request.getfixturevalue("postgres")
    with server.database(name="registry"):
        yield {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": server.user}


@pytest.mark.parametrize("path", WITH_BLOCKS, ids=named)
def test_blocks(path: Path, tmp_path: Path, registry: Mapping[str, str]) -> None:
    """Every block of a page runs, loads or parses, and what is shown as printed is printed."""
    folder = tmp_path / "checkout"
    folder.mkdir()

    with Page(path, folder, registry) as page:
        for example in page.examples():
            example.evaluate()


@pytest.mark.parametrize("path", WITH_BLOCKS, ids=named)
def test_languages(path: Path) -> None:
    """Every block is of a kind that the tests know what to do with."""
    opening = FENCE.findall(path.read_text("utf-8"))[::2]

    assert set(opening) <= set(LANGUAGES)
