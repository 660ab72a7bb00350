"""Fixtures that several rooms share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifest import counted

DATA = Path(__file__).parent / "data"


@pytest.fixture
def anyio_backend() -> str:
    """The server runs on asyncio alone."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of each run, also of one that xdist spreads, how many requirements are held."""
    terminalreporter.write_line(counted())


def payload_files(*folders: str) -> list[Path]:
    """The payload files of the named folders of tests/data/payloads, sorted."""
    return sorted(path for folder in folders for path in (DATA / "payloads" / folder).glob("*.json"))


def payload(path: Path) -> dict[str, Any]:
    """One payload file."""
    return json.loads(path.read_text("utf-8"))
