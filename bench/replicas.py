"""How registrations grow with processes on one PostgreSQL: `bench/replicas.py [--processes 1 2 4] [--seconds 8]`.

Each process is `registrar serve` on a port of its own; one wrk for each loads them at the same time, for the same time.
Nothing is pinned: the database, the servers and the load share the cores of the machine. Writes bench/results/replicas.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bodies import client
from load import SCRIPT, install_wrk
from ours import REGISTRAR, configure
from report import number, table
from results import keep, scratch
from servers import STOP_SECONDS, Site, answers, cluster, free_port

from tied import tied

CONNECTIONS = 32
START_SECONDS = 30


def request(port: int) -> bytes:
    """One registration, as bytes on the wire."""
    body = client("none")
    head = f"POST /register HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def serving(config: Path, port: int) -> object:  # type: ignore[misc]
    """One process."""
    with (config.parent / f"{port}.log").open("ab") as log:
        command = [*REGISTRAR, "serve", "--config", str(config), "--port", str(port)]
        process = subprocess.Popen(tied(*command), stdout=log, stderr=log)
    try:
        began = time.perf_counter()
        while not answers(port, "/readyz"):
            if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                sys.exit(f"bench: it did not start:\n{(config.parent / f'{port}.log').read_text()}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def loaded(folder: Path, ports: list[int], seconds: int) -> tuple[float, float]:
    """Registrations a second of all, and the worst p99 in milliseconds."""
    running = []
    for port in ports:
        requests = folder / f"{port}.request"
        requests.write_bytes(request(port))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(SCRIPT)]
        command += [f"http://127.0.0.1:{port}/", "--", "201", str(requests), "0"]
        running.append(subprocess.Popen(tied(*command), stdout=subprocess.PIPE, text=True))
    seen = [json.loads(one.communicate()[0].splitlines()[-1]) for one in running]
    if any(one["unexpected"] or one["socket_errors"] for one in seen):
        sys.exit(f"bench: not every answer was 201: {seen}")
    return sum(one["expected"] / one["seconds"] for one in seen), max(one["p99_ms"] for one in seen)


def main() -> None:
    """All numbers of processes, each on a database of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    install_wrk()
    rows: list[list[str]] = []
    first = 0.0
    for count in options.processes:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(scratch()))
            server = stack.enter_context(cluster("max_connections=200"))
            asyncio.run(server.execute("CREATE DATABASE registry"))
            ports = [free_port() for _ in range(count)]
            site = Site(folder, ports[0])
            configure(site, "open", server.url("registry"))
            subprocess.run([*REGISTRAR, "migrate", "--config", str(site.config)], check=True, capture_output=True)
            for port in ports:
                stack.enter_context(serving(site.config, port))  # type: ignore[arg-type]
            loaded(folder, ports, 2)
            rate, p99 = loaded(folder, ports, options.seconds)
        first = first or rate
        rows.append([str(count), number(rate), f"{rate / first:.2f}", number(p99)])
        print(rows[-1], flush=True)
    keep(
        "replicas",
        "Processes on one PostgreSQL",
        [
            table(["processes", "registrations/s", "times the first row", "worst p99, ms"], rows),
            (
                f"The machine has {os.cpu_count()} cores, which the processes share with PostgreSQL and with the load "
                f"({CONNECTIONS} connections to each). So this shows that processes do not hinder each other; it does not show how "
                "the rate grows where each has a core."
            ),
        ],
    )


if __name__ == "__main__":
    main()
