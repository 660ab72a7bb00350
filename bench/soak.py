"""Whether it stays as it is: `bench/soak.py [--minutes 10] [--share 0.7]`, registrations at a steady rate, on SQLite.

The peak is measured first, by as many callers as one connection each bears. Then requests leave at the times that the rate
sets, whether or not those before them are answered; each is timed from when it was to leave, so a server that stalls is
not spared the requests that a waiting caller would not have sent. Writes bench/results/soak.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from pathlib import Path

import uvloop
from load import CONNECTIONS, LOAD_CORE, install_wrk, resident_mib
from replicas import request
from report import number, table
from results import keep, scratch
from tls import run, serving

PEAK_SECONDS = 6
PARTS = 10


async def answered(reader: asyncio.StreamReader) -> None:
    """Read one answer, which must be 201."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 201"):
        raise SystemExit(f"bench: not 201: {head!r}")
    [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(length.split(b":")[1]))


async def steady(port: int, rate: float, seconds: float) -> list[float]:
    """Send at a rate over a fixed number of connections; the milliseconds of each request, from when it was due."""
    message, took = request(port), []
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

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return took


def main() -> None:
    """The peak, and then the soak in ten parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--share", type=float, default=0.7)
    options = parser.parse_args()
    install_wrk()
    os.sched_setaffinity(0, {LOAD_CORE})
    rows: list[list[str]] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        pid, site = stack.enter_context(serving(folder / "soak", tls=False))
        run(pid, site, "http", 2)
        peak = run(pid, site, "http", PEAK_SECONDS)[0]
        rate, seconds = peak * options.share, options.minutes * 60 / PARTS
        before = resident_mib(pid)
        for part in range(PARTS):
            began = time.perf_counter()
            took = uvloop.run(steady(site.port, rate, seconds))
            per_second = len(took) / (time.perf_counter() - began)
            cuts = statistics.quantiles(took, n=1000)
            cells = [per_second, cuts[499], cuts[989], cuts[998], max(took), resident_mib(pid)]
            rows.append([f"{(part + 1) * seconds / 60:.1f}", *map(number, cells)])
            print(rows[-1], flush=True)
        after = resident_mib(pid)
    keep(
        "soak",
        f"{options.minutes:g} minutes at {options.share:.0%} of the peak",
        [
            f"The peak was {number(peak)} registrations/s; then {number(rate)}/s were asked for.",
            table(["until minute", "answered/s", "p50 ms", "p99 ms", "p99.9 ms", "worst ms", "resident MiB"], rows),
            (
                f"Resident memory went from {number(before)} to {number(after)} MiB. Times count from when a request was to "
                "leave; the load is in Python, on a core of its own, and its own delays are in them."
            ),
        ],
    )


if __name__ == "__main__":
    main()
