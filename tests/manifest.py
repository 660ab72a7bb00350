"""The rows of tests/requirements.toml, and the marks that the tests carry, read from their sources.

The sources and not the run are read, so that a run of a few tests says the same as a run of all. A mark is found by its
ids: in the folders of tests a text that is nothing but ids is there to mark something, be it in a decorator, in
`pytest.param` or in a table that becomes one. tests/test_requirements.py holds that pytest sees the same.
"""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
ID = re.compile(r"(?:AUTHM|BASE|DISC|D|METAX|META|OIDC|R759[12]|SEED|WILD)-C?[1-9]\d*")


@dataclass(frozen=True, slots=True)
class Row:
    """A requirement, and why no test holds it, if none does."""

    title: str
    open: str | None = None
    waived: str | None = None
    note: str | None = None


@cache
def rows() -> dict[str, Row]:
    """Every row of the manifest, by its id."""
    return {name: Row(**row) for name, row in tomllib.loads((TESTS / "requirements.toml").read_text("utf-8")).items()}


@cache
def marks() -> dict[str, frozenset[Path]]:
    """For each id that stands in a test, the files where it does."""
    found: dict[str, set[Path]] = {}
    for path in sorted(TESTS.glob("*/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.split()
                for word in words if all(map(ID.fullmatch, words)) else ():
                    found.setdefault(word, set()).add(path)
    return {name: frozenset(paths) for name, paths in found.items()}


def counted() -> str:
    """How many rows are covered, waived and open, in a line."""
    covered = len(marks().keys() & rows().keys())
    waived = sum(row.waived is not None for row in rows().values())
    still = sum(row.open is not None for row in rows().values())
    return f"requirements: {covered} covered, {waived} waived, {still} open"
