"""The manifest and the marks say the same, in both directions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from manifest import ID, TESTS, counted, marks, rows

PLUGIN = """
import json, os
from pathlib import Path

def pytest_collection_modifyitems(items):
    ids = {one for item in items for mark in item.iter_markers("requirement") for one in mark.args}
    Path(os.environ["MARKS"]).write_text(json.dumps(sorted(ids)), "utf-8")
"""


def test_every_mark_has_a_row() -> None:
    """A test names no requirement that does not exist."""
    assert marks().keys() - rows().keys() == set()


def test_every_row_has_a_test_or_a_reason() -> None:
    """A row is covered, open or waived, and only one of these."""
    said = {
        name: [
            kind
            for kind in ("covered", "open", "waived")
            if (name in marks() if kind == "covered" else getattr(row, kind))
        ]
        for name, row in rows().items()
    }

    assert {name: kinds for name, kinds in said.items() if len(kinds) != 1} == {}


def test_rows_are_written_in_words() -> None:
    """Ids are well formed, titles whole, and each reason and note is a sentence; a note stands beside a covered row."""
    for name, row in rows().items():
        assert ID.fullmatch(name), name
        assert row.title.strip() == row.title != "", name
        assert not row.title.endswith(("...", "…", ".")), name
        for sentence in (row.open, row.waived, row.note):
            assert sentence is None or re.fullmatch(r"\S+( \S+){3,}\.", sentence), name
        assert row.note is None or name in marks(), name


def test_titles_are_told_apart() -> None:
    """No two rows have one title: each says what it demands."""
    titles = [row.title for row in rows().values()]

    assert [title for title in titles if titles.count(title) > 1] == []


def test_pytest_sees_the_same_marks(tmp_path: Path) -> None:
    """What is read from the sources is what pytest collects, so that no id stands in a test without marking it."""
    (tmp_path / "collected.py").write_text(PLUGIN, "utf-8")
    told = tmp_path / "marks.json"
    collection = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "collected", TESTS],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "MARKS": str(told)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert collection.returncode == 0, collection.stdout[-2000:]
    assert json.loads(told.read_text("utf-8")) == sorted(marks())


def test_the_counts_add_up() -> None:
    """The line at the end of each run counts every row once."""
    assert sum(map(int, re.findall(r"\d+", counted()))) == len(rows())
