"""Drives one server with wrk from a core of its own, and reads what the kernel knows about the server."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 64
SCRIPT = Path(__file__).parent / "lua" / "load.lua"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class LoadError(Exception):
    """A run that proves nothing: no server, a socket error, a wrong status, or answers that the database belies."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one wrk run saw, and the CPU time the server spent meanwhile."""

    answers: int
    seconds: float
    cpu_seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.answers / self.cpu_seconds

    @property
    def busy(self) -> float:
        """The share of its core that the server had; well below 1, and something else held it up."""
        return self.cpu_seconds / self.seconds


def install_wrk() -> None:
    """Install Debian's wrk when it is missing and we may."""
    if shutil.which("wrk"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("bench: wrk is missing: install it (Debian and Ubuntu: apt-get install wrk) and start again")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=True)


def load(pid: int, port: int, requests: Path, status: int, seconds: int) -> Run:
    """Send the prepared requests for so many seconds; every answer must have the expected status."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["--latency", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/", "--", str(status), str(requests)]
    cpu_before = cpu_seconds(pid)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    cpu = cpu_seconds(pid) - cpu_before
    if done.returncode:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stderr or done.stdout}")
    seen = json.loads(done.stdout.splitlines()[-1])
    if seen["unexpected"]:
        raise LoadError(f"{seen['unexpected']} answers were not {status}; the last was {seen['last_unexpected']}")
    if seen["socket_errors"]:
        raise LoadError(f"{seen['socket_errors']} socket errors")
    return Run(seen["expected"], seen["seconds"], cpu, seen["p50_ms"], seen["p99_ms"])


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_mib(pid: int) -> float:
    """The process's resident set, mapped files included."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
