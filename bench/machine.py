"""The machine that the numbers come from: what it is, what runs on it, and what disturbed it."""

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path

import apsw

PYTHON_PARTS = ("uvicorn", "uvloop", "httptools", "msgspec", "apsw", "cryptography", "mcp", "starlette", "pydantic")
PEERS_PACKAGE = Path(__file__).parent / "peers" / "package.json"


def description(folder: Path) -> dict[str, str]:
    """Everything that cannot be read off the tables."""
    return {
        "Date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{in_proc('cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "Memory": f"{int(in_proc('meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB",
        "System": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "Disk": f"{filesystem(folder)}; 8 KiB append and fdatasync: {sync_ms(folder):.2f} ms (median)",
        "Versions": ", ".join(versions()),
    }


def in_proc(file: str, key: str) -> str:
    """The value of the first line of /proc/`file` that starts with the key."""
    lines = Path("/proc", file).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "unknown")


def filesystem(folder: Path) -> str:
    found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", folder], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def sync_ms(folder: Path, times: int = 300) -> float:
    """What one durable append costs here: no commit can be quicker."""
    taken = []
    path = folder / "sync"
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(taken) * 1000


def versions() -> list[str]:
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    wrk = subprocess.run(["wrk", "-v"], check=False, capture_output=True, text=True).stdout.split()[1]
    peers: dict[str, str] = json.loads(PEERS_PACKAGE.read_text())["dependencies"]
    return [
        f"Python {platform.python_version()} ({build()})",
        *(f"{name} {version(name)}" for name in PYTHON_PARTS),
        f"SQLite {apsw.sqlite_lib_version()}",
        f"Node.js {node}",
        *(f"{name} {number}" for name, number in peers.items()),
        f"wrk {wrk}",
    ]


def build() -> str:
    """How this Python was built, which decides about an eighth of its speed; Debian optimises without saying how."""
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return "with profile-guided optimisation"
    return "the distribution's build" if sys.base_prefix == "/usr" else "without profile-guided optimisation"


def stolen_and_all() -> tuple[int, int]:
    """CPU ticks that the host kept for itself, and all ticks, since the machine started."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    return ticks[7], sum(ticks)
