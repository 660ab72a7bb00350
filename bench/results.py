"""Where the benches that stand by themselves work, and keep what they found: a page each in bench/results."""

from __future__ import annotations

import datetime as dt
import os
import sys
import tempfile
from pathlib import Path

from machine import in_proc

RESULTS = Path(__file__).parent / "results"
VAR = Path(__file__).parent.parent / "var"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for databases and keys, which goes with the bench.

    It is on the disk of the project, as a temporary folder of the system may be in memory, and where git does not look:
    what a bench that is killed leaves there must not get into a commit.
    """
    VAR.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=VAR)


def keep(name: str, title: str, parts: list[str]) -> None:
    """Print what was found and write its page."""
    about = (
        f"Written by `bench/{Path(sys.argv[0]).name}` on {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, "
        f"with `{' '.join(sys.argv[1:]) or 'no options'}`: {in_proc('cpuinfo', 'model name')}, {os.cpu_count()} cores, "
        f"load average at the end {os.getloadavg()[0]:.1f}."
    )
    page = "\n\n".join([f"# {title}", *parts, about]) + "\n"
    print("\n" + page)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(page)
