"""A browser of the distribution and the program that drives it, installed when they are missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parent / "node"
INSTALL_SECONDS = 900
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def run(command: list[str], **more: object) -> None:
    """Run an installation; what it says when it fails is what the test fails with."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, **more)  # type: ignore[call-overload]  # a folder, an environment
    if done.returncode != 0:
        pytest.fail(f"`{' '.join(command)}` exited with {done.returncode}:\n{done.stdout}{done.stderr}")


def browser_here() -> str | None:
    """The browser of this machine."""
    return next((path for path in map(shutil.which, _NAMES) if path), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium. Where there is none it is installed, and where that cannot be the test fails and says so."""
    with (NODE / "package.json").open() as lock:  # between parallel test processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := browser_here():
            return found
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            pytest.fail(f"no browser was found ({', '.join(_NAMES)}) and none can be installed: install chromium")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=quiet)
        run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium"], env=quiet)
        found = browser_here()
    assert found, "chromium was installed and cannot be found"
    return found


@pytest.fixture(scope="session")
def node() -> str:
    """The path of `node`, with the locked package beside the script."""
    path, npm = shutil.which("node"), shutil.which("npm")
    if path is None or npm is None:
        pytest.fail("`node` or `npm` was not found: the browser is driven from Node.js 20 or newer")
    receipt, locked = NODE / "node_modules" / ".package-lock.json", NODE / "package-lock.json"
    with locked.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # npm writes this copy of the lock last, so an interrupted installation does not count.
        if not receipt.exists() or receipt.stat().st_mtime < locked.stat().st_mtime:
            run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=NODE)
    return path
