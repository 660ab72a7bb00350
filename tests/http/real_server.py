"""A real server: the program in a process of its own, on a socket of this machine."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tied import tied

START_SECONDS: Final = 30
STOP_SECONDS: Final = 30
ANSWER_SECONDS: Final = 20
_LISTENING: Final = re.compile(r"running on (https?)://\S*?:(\d+)")


class Reply(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The error code of a refusal, which is always JSON."""
        assert self.headers["content-type"] == "application/json; charset=utf-8"
        return json.loads(self.body)["error"]


class Program:
    """`python -m registrar serve` in a folder, with everything that it prints."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "registrar", "serve", *arguments]
        # Its own process group: Ctrl-C in the terminal of the tests is not for it.
        self.process = subprocess.Popen(
            tied(*command),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.folder, self.lines, self.port = folder, list[str](), 0
        self._heard = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        """What was printed so far."""
        return "".join(self.lines)

    def listening(self) -> Program:
        """Return once the server listens."""
        assert self._heard.wait(START_SECONDS), self.output
        assert self.port, self.output
        return self

    def connect(self) -> socket.socket:
        """A connection to the server."""
        return socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS)

    def send(self, *pieces: bytes) -> list[Reply]:
        """Send bytes as they are on a connection of their own, and read until the server closes it."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # it may have hung up already
                for piece in pieces:
                    connection.sendall(piece)
            return replies(connection)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the server and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """The exit code, once the program has ended by itself."""
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := _LISTENING.search(line):
                self.port = int(found[2])
                self._heard.set()
        self._heard.set()


def replies(connection: socket.socket) -> list[Reply]:
    """Every answer that comes until the server closes the connection."""
    received = bytearray()
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            received += piece
    return parse(bytes(received))


def reply(connection: socket.socket) -> Reply:
    """The next answer on a connection that stays open."""
    received = bytearray()
    while not (found := parse(bytes(received))):
        piece = connection.recv(65_536)
        assert piece, f"the connection was closed after {bytes(received)!r}"
        received += piece
    assert len(found) == 1
    return found[0]


def parse(received: bytes) -> list[Reply]:
    """The whole answers at the beginning of what was received."""
    found: list[Reply] = []
    while received:
        head, blank, rest = received.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        if not blank:
            return found
        status = int(start.split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return found
        received = rest[length:]
        if status != 100:
            found.append(Reply(status, headers, rest[:length]))
    return found


def request(method: str, path: str, body: Any = None, *headers: str) -> bytes:
    """A whole HTTP/1.1 request: `body` is sent as JSON, or as it is where it is bytes."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


OPEN: Final = """
[server]
port = 0
database = "sqlite:///registrar.db"
{server}
[issuer.main]
url = "{url}"
[issuer.main.registration]
mode = "open"
"""
Start = Callable[..., Program]


def configuration(server: str = "", url: str = "http://127.0.0.1:8000") -> str:
    """An open issuer on a port that the system chooses, with more lines for `[server]`."""
    return OPEN.format(server=server, url=url)
