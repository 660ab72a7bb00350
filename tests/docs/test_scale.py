"""The numbers of docs/scale.md are those of the simulation that it names."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_quotes_the_simulation() -> None:
    """Each row of the table of shards is what the simulation gives."""
    simulation = runpy.run_path(str(ROOT / "bench" / "shards.py"))
    page = (ROOT / "docs" / "scale.md").read_text()
    for shards in (4, 16, 64):
        by_range, by_hash = (simulation[name](shards, 50_000) for name in ("by_range", "by_hash"))
        assert f"| {shards} | {by_range:.1%} | {by_hash:.1%} |" in page
