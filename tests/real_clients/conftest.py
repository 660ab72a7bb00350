"""A live server, the npm clients from their lock, and a line of output for what each client obtained."""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest
from person import PASSWORD, USERNAME, at_hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODE = Path(__file__).parent / "node"
STARTUP_SECONDS = 30
SHUTDOWN_SECONDS = 15
INSTALL_SECONDS = 300


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def await_healthy(process: subprocess.Popen[bytes], issuer: str, log: Path) -> None:
    """Return once `/healthz` answers 200; fail with the server's output if it exits or stays silent."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{issuer}/healthz", trust_env=False).status_code == httpx2.codes.OK:
                return
        except httpx2.TransportError:
            pass  # not listening yet
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"the server exited with {process.returncode} before it was healthy:\n{log.read_text()}")
    pytest.fail(f"{issuer}/healthz did not answer 200 within {STARTUP_SECONDS} s:\n{log.read_text()}")


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The issuer URL of a development server in a process and a directory of its own."""
    directory = tmp_path_factory.mktemp("server")
    log = directory / "server.log"
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "registrar", "serve", "--dev", "--port", str(port)]
    account = [
        sys.executable,
        "-m",
        "registrar",
        "user",
        "add",
        USERNAME,
        "--dev",
        "--email",
        f"{USERNAME}@example.com",
    ]
    added = subprocess.run([*account, "--password-file", "-"], cwd=directory, input=PASSWORD, text=True, check=False)
    assert added.returncode == 0
    # The output goes to a file: a pipe that nobody reads would fill and stop the server.
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=subprocess.STDOUT)
    try:
        await_healthy(process, issuer, log)
        yield issuer
    finally:
        process.terminate()
        try:
            process.wait(timeout=SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the server did not stop within {SHUTDOWN_SECONDS} s of SIGTERM:\n{log.read_text()}")


@pytest.fixture(scope="session")
def person(live_server: str) -> Iterator[str]:
    """Where clients send the addresses that a person has to go to; see `person.at_hand`."""
    with at_hand(live_server) as address:
        yield address


def program(name: str) -> str:
    """The full path of a Node.js program, whose absence is a failure: these clients are part of the suite."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"`{name}` was not found: these tests run real npm clients and need Node.js 20 or newer with npm")
    return path


def installed() -> bool:
    """Whether npm finished an installation after the lock file last changed."""
    # npm writes this copy of the lock last, so an interrupted installation does not count.
    receipt = NODE / "node_modules" / ".package-lock.json"
    return receipt.exists() and receipt.stat().st_mtime >= (NODE / "package-lock.json").stat().st_mtime


@pytest.fixture(scope="session")
def node() -> str:
    """The path of `node`, with the locked npm packages installed beside the scripts."""
    path = program("node")
    command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    # The lock file doubles as the lock between parallel test processes.
    with (NODE / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed():
            return path
        npm = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if npm.returncode != 0:
        pytest.fail(f"`npm ci` exited with {npm.returncode}:\n{npm.stdout}{npm.stderr}")
    return path


@pytest.fixture
def announce(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line that every run shows, captured output or not."""

    def line(text: str) -> None:
        with capsys.disabled():
            # On stderr, since a parallel run (pytest-xdist) drops what its workers write to stdout.
            print(f"\n    {text}", file=sys.stderr, end="", flush=True)

    return line
