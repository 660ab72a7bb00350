"""The peers of the benchmark are installed so that the comparison is fair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pinned(file: str) -> dict[str, str]:
    """The versions in a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE))


@pytest.mark.parametrize("part", ["httptools", "mcp", "starlette", "uvicorn", "uvloop"])
def test_python_peers_run_on_the_same_parts(part: str) -> None:
    """FastMCP has an environment of its own; a slower or older part there would win the comparison for us."""
    assert pinned("bench/peers/fastmcp.txt").get(part) == pinned("requirements/dev.txt")[part]
