"""The threat model: every source is there, and every test that it names is one."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = tomllib.loads((TESTS.parent / "docs" / "threats.toml").read_text("utf-8"))["threat"]


@cache
def functions(path: str) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, kinds) and one.name.startswith("test_"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']} {row['what'][:30]}")
def test_every_threat_has_tests_that_exist(row: dict[str, object]) -> None:
    """What is said to be done is shown by at least one test, and none that is named is gone."""
    assert set(row) <= {"source", "what", "done", "tests", "left"}
    tests = row["tests"]
    assert isinstance(tests, list)
    assert tests
    for name in tests:
        path, _, function = name.partition("::")
        assert function in functions(path), name


def test_every_source_is_there() -> None:
    """RFC 7591 §5, each attack of RFC 9700, what governance names, and what was found in other servers."""
    sources = [row["source"] for row in ROWS]
    assert {int(found[1]) for one in sources if (found := re.fullmatch(r"RFC 9700 §4[.](\d+)", one))} == {*range(1, 18)}
    assert sources.count("RFC 7591 §5") >= 10
    assert sources.count("Governance of registration") == 9
    cves = """2026-1180 2026-4366 2026-1518 2026-9803 2026-9705 2026-15572 2026-16102 2026-18573 2026-18570 2026-18206
    2026-18211 2026-9086 2026-89298 2021-26715"""
    assert {one for one in sources if one.startswith("CVE")} == {f"CVE-{one}" for one in cves.split()}
