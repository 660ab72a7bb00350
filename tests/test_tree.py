"""What is in the tree: text that somebody wrote or generated, and nothing that a registry left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LARGEST = 400_000
"""Bytes of a file: the lock files are the largest, and a database is larger."""


def test_no_data_and_no_keys_are_kept() -> None:
    """No database, no key, and nothing of the size of one: benches and trials leave such things behind when killed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert len(paths) > 400
    found = [
        path
        for path in paths
        if path.is_file()
        and (
            path.stat().st_size > LARGEST
            or path.suffix in (".key", ".lock", ".db")
            or path.suffix.startswith(".db-")
            or path.read_bytes()[:15] == b"SQLite format 3"
        )
    ]
    assert not found
