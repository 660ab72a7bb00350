"""Fixtures that several rooms share."""

from __future__ import annotations

import pytest

from manifest import counted


@pytest.fixture
def anyio_backend() -> str:
    """The server runs on asyncio alone."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of each run, also of one that xdist spreads, how many requirements are held."""
    terminalreporter.write_line(counted())
