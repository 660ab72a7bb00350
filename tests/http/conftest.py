"""Fixtures that start real servers, and one that holds answers against the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from described import check
from real_server import Program, Start, configuration


@pytest.fixture(autouse=True)
def as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test asks of the administration API is answered as the OpenAPI document says."""
    send = httpx2.AsyncClient.send

    async def checked(self: httpx2.AsyncClient, request: httpx2.Request, **more: Any) -> httpx2.Response:
        answer = await send(self, request, **more)
        if answer.is_closed:  # it is read whole
            check(answer)
        return answer

    monkeypatch.setattr(httpx2.AsyncClient, "send", checked)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers in a folder of their own; what still runs at the end is stopped."""
    started: list[Program] = []

    def begin(text: str = "", *arguments: str) -> Program:
        if text:
            (tmp_path / "registrar.toml").write_text(text, "utf-8")
        started.append(Program(tmp_path, *arguments))
        return started[-1]

    yield begin
    for program in started:
        program.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A server that the tests of a module share: open, and impatient with what arrives slowly."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "registrar.toml").write_text(configuration("body_seconds = 0.5"), "utf-8")
    program = Program(folder).listening()
    yield program
    assert program.stop() == 0
    assert "Traceback" not in program.output, program.output
