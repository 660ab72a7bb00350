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
    others_seconds: float
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
        """The share of its core that the server used; the rest of the time it waited, for the disk or for others."""
        return self.cpu_seconds / self.seconds

    @property
    def disturbed(self) -> float:
        """CPU time that programs that have no part in this took meanwhile, as a share of one core."""
        return self.others_seconds / self.seconds


def install_wrk() -> None:
    """Install Debian's wrk when it is missing and we may."""
    if shutil.which("wrk"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("bench: wrk is missing: install it (Debian and Ubuntu: apt-get install wrk) and start again")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=True)


def load(pid: int, port: int, requests: Path, status: int, seconds: int, after: int = 0) -> Run:
    """Send the prepared requests for so many seconds; every answer must have the expected status."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    command += ["--timeout", f"{max(seconds, 10)}s"]  # a virtual machine that is cold takes long to the first answers
    command += ["--latency", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/", "--"]
    command += [str(status), str(requests), str(after)]
    server, load_itself, everything = cpu_seconds(pid), own_seconds(), machine_seconds()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    server, load_itself = cpu_seconds(pid) - server, own_seconds() - load_itself
    others = max(machine_seconds() - everything - server - load_itself, 0.0)
    if done.returncode:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stderr or done.stdout}")
    seen = json.loads(done.stdout.splitlines()[-1])
    if seen["unexpected"]:
        raise LoadError(f"{seen['unexpected']} answers were not {status}; the last was {seen['last_unexpected']}")
    if seen["socket_errors"]:
        raise LoadError(f"{seen['socket_errors']} socket errors")
    return Run(seen["expected"], seen["seconds"], server, others, seen["p50_ms"], seen["p99_ms"])


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def own_seconds() -> float:
    """CPU time of this process and of every wrk it has run."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def machine_seconds() -> float:
    """CPU time of all processes on the two cores; interrupts, which the network causes, are counted apart."""
    cores = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    names = {f"cpu{SERVER_CORE}", f"cpu{LOAD_CORE}"}
    return sum(sum(map(int, core[1:4])) for core in cores if core[0] in names) / TICKS_PER_SECOND


def resident_mib(pid: int) -> float:
    """The process's resident set, mapped files included."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
