"""Whether it stays as it is: `bench/soak.py [--minutes 10] [--share 0.7]`, registrations at a steady rate, on SQLite.

The peak is measured first, by as many callers as one connection each bears. Then requests leave at the times that the rate
sets, whether or not those before them are answered; each is timed from when it was to leave, so a server that stalls is
not spared the requests that a waiting caller would not have sent. The server tells its metrics, as an operator's would:
they say how many commits were slow, and a disk that stands still for a moment is told from a server that does. At the end
the clients in the database must be as many as were answered with 201. Writes bench/results/soak.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import statistics
import time
import urllib.request
from pathlib import Path

import uvloop
from load import CONNECTIONS, LOAD_CORE, LoadError, cpu_seconds, install_wrk, resident_mib
from ours import SQLiteLedger
from replicas import request
from report import number, table
from results import keep, scratch
from servers import free_port
from tls import run, serving

PEAK_SECONDS = 6
PARTS = 10
WORK = 10_000
SLOW = "0.05"
"""Seconds after which a commit is a slow one, as the buckets of the metric have it."""


async def answered(reader: asyncio.StreamReader) -> None:
    """Read one answer, which must be 201."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 201"):
        raise SystemExit(f"bench: not 201: {head!r}")
    [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(length.split(b":")[1]))


def fixed_work() -> float:
    """Seconds of processor time that always the same work takes here and now: what neighbours of a virtual machine leave."""
    began = time.thread_time()
    sum(range(WORK))
    return time.thread_time() - began


async def steady(port: int, rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """Send at a rate over a fixed number of connections.

    Returns:
        The milliseconds of each request, from when it was due; and what the fixed work took, ten times a second.
    """
    message, took, works = request(port), [], []
    began = time.perf_counter() + 0.1
    turns = iter(range(int(rate * seconds)))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for turn in turns:
            due = began + turn / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            writer.write(message)
            await answered(reader)
            took.append((time.perf_counter() - due) * 1000)
        writer.close()

    async def look() -> None:
        while True:
            await asyncio.sleep(0.1)
            works.append(fixed_work())

    watching = asyncio.create_task(look())
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    watching.cancel()
    return took, works


def slow_commits(port: int) -> int:
    """How many commits took longer than `SLOW` since the server began."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        told = answer.read().decode()
    buckets = dict(
        re.findall(r'^registrar_commit_seconds_bucket{le="(.+?)",outcome="durable"} (\S+)$', told, re.MULTILINE)
    )
    return round(float(buckets["+Inf"]) - float(buckets[SLOW]))


def main() -> None:
    """The peak, and then the soak in ten parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--share", type=float, default=0.7)
    options = parser.parse_args()
    install_wrk()
    os.sched_setaffinity(0, {LOAD_CORE})
    rows: list[list[str]] = []
    worked: list[list[float]] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        metrics = free_port()
        more = f"[server.metrics]\nport = {metrics}\n"
        pid, site = stack.enter_context(serving(folder / "soak", tls=False, more=more))
        run(pid, site, "http", 2)
        peak = run(pid, site, "http", PEAK_SECONDS)[0]
        ledger = SQLiteLedger(site.database)
        ledger.new_clients()
        rate, seconds = peak * options.share, options.minutes * 60 / PARTS
        before, answers, slow = resident_mib(pid), 0, slow_commits(metrics)
        for part in range(PARTS):
            began, spent = time.perf_counter(), cpu_seconds(pid)
            took, works = uvloop.run(steady(site.port, rate, seconds))
            worked.append(works)
            lasted = time.perf_counter() - began
            cuts = statistics.quantiles(took, n=1000)
            answers, slower, slow = answers + len(took), slow, slow_commits(metrics)
            latencies = map(number, [len(took) / lasted, cuts[499], cuts[989], cuts[998], max(took)])
            busy = (cpu_seconds(pid) - spent) / lasted
            rows.append(
                [
                    f"{(part + 1) * seconds / 60:.1f}",
                    *latencies,
                    str(slow - slower),
                    f"{busy:.0%}",
                    number(resident_mib(pid)),
                ]
            )
            print(rows[-1], flush=True)
        after = resident_mib(pid)
        if (stored := ledger.new_clients()) != answers:
            raise LoadError(f"{answers} were answered, and {stored} are stored")
    fastest = min(statistics.median(works) for works in worked)
    for row, works in zip(rows, worked, strict=True):
        row.append(number(statistics.quantiles(works, n=20)[18] / fastest))
    keep(
        "soak",
        f"{options.minutes:g} minutes at {options.share:.0%} of the peak",
        [
            f"The peak was {number(peak)} registrations/s; then {number(rate)}/s were asked for.",
            table(
                [
                    *["until minute", "answered/s", "p50 ms", "p99 ms", "p99.9 ms", "worst ms"],
                    *[f"commits over {float(SLOW) * 1000:.0f} ms", "core busy", "resident MiB", "same work takes"],
                ],
                rows,
            ),
            (
                f"Resident memory went from {number(before)} to {number(after)} MiB. Each of the {answers:,} that were answered "
                "is stored, with its event. Times count from when a request was to leave; the load is in Python, on a core of "
                "its own, and its own delays are in them."
            ),
            (
                "While the disk lets a commit wait, requests wait with it, and those that come after until the backlog is gone: "
                "one slow commit of a tenth of a second is a third of a second of slow answers at this rate. The core is busy "
                "beyond the share of the peak because commits are small as long as there is time for it: nobody waits for a batch to fill."
            ),
            (
                "`same work takes` is what a fixed computation beside the load took, ten times a second, in processor time: the "
                "slowest twentieth of the minute, against the median of the best minute. Where it is 1.4 and more, the machine gave "
                "less than the rate needs for moments, for 70% of its peak is then all that it has."
            ),
        ],
    )


if __name__ == "__main__":
    main()
