"""The measurements as tables: against the peers, against the aims, and all of them; printed and kept in RESULTS.md."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from load import Run

OURS = "public"
PEERS = {"oidc-provider": "node-oidc-provider", "mcp-sdk": "MCP Python SDK"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One row's runs, and what its server took to start and to stay."""

    name: str
    title: str
    ours: bool
    registers: bool
    runs: list[Run]
    starts: list[float]
    resident_mib: float

    def median(self, of: Callable[[Run], float]) -> float:
        return statistics.median(map(of, self.runs))

    @property
    def per_second(self) -> float:
        return self.median(lambda run: run.per_second)

    @property
    def per_cpu_second(self) -> float:
        return self.median(lambda run: run.per_cpu_second)

    @property
    def p50_ms(self) -> float:
        return self.median(lambda run: run.p50_ms)

    @property
    def p99_ms(self) -> float:
        return self.median(lambda run: run.p99_ms)

    @property
    def start_seconds(self) -> float:
        return statistics.median(self.starts)

    @property
    def busy(self) -> float:
        """The share of its core that the server had while loaded; well below 1, and something else held it up."""
        return self.median(lambda run: run.cpu_seconds / run.seconds)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that is also readable as text: first column to the left, numbers to the right."""
    if not rows:
        return "(needs rows that were not measured)"
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: list[str]) -> str:
        first, *rest = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = ["-" * width if not at else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])


def against_peers(rows: dict[str, Measured]) -> str:
    """How many times better the registrar is than each peer at the same request, the worst first."""
    found: list[tuple[float, list[str]]] = []
    ours = rows.get(OURS)
    for name, title in PEERS.items():
        theirs = rows.get(name)
        if not ours or not theirs:
            continue
        for measure, a, b, better in compared(ours, theirs):
            word = "**behind**" if better < 0.995 else "ahead" if better > 1.005 else "even"
            found.append((better, [f"{measure}, against {title}", number(a), number(b), f"{better:.2f}", word]))
    return table(["measure", "registrar", "peer", "times better", ""], [cells for _, cells in sorted(found)])


def compared(ours: Measured, theirs: Measured) -> Iterator[tuple[str, float, float, float]]:
    """Measure, ours, theirs, times better. Rates are compared turn by turn, the median of those ratios is what counts."""
    turns = list(zip(ours.runs, theirs.runs, strict=True))

    def turn_by_turn(of: Callable[[Run], float]) -> float:
        return statistics.median(of(a) / of(b) for a, b in turns)

    yield "requests/s", ours.per_second, theirs.per_second, turn_by_turn(lambda run: run.per_second)
    yield (
        "requests per CPU second",
        ours.per_cpu_second,
        theirs.per_cpu_second,
        turn_by_turn(lambda run: run.per_cpu_second),
    )
    yield "p50 ms", ours.p50_ms, theirs.p50_ms, 1 / turn_by_turn(lambda run: run.p50_ms)
    yield "p99 ms", ours.p99_ms, theirs.p99_ms, 1 / turn_by_turn(lambda run: run.p99_ms)
    yield "resident MiB", ours.resident_mib, theirs.resident_mib, theirs.resident_mib / ours.resident_mib
    yield (
        "start to first answer, s",
        ours.start_seconds,
        theirs.start_seconds,
        theirs.start_seconds / ours.start_seconds,
    )


def measurements(rows: dict[str, Measured]) -> str:
    header = [
        "request",
        "requests/s",
        "per CPU s",
        "p50 ms",
        "p99 ms",
        "resident MiB",
        "start s",
        "core busy",
        "x oidc-provider",
        "x MCP SDK",
    ]

    def cells(row: Measured) -> list[str]:
        numbers = (row.per_second, row.per_cpu_second, row.p50_ms, row.p99_ms, row.resident_mib, row.start_seconds)
        times = [times_as_many(row, rows.get(name)) for name in PEERS]
        return [row.title, *map(number, numbers), f"{row.busy:.0%}", *times]

    return table(header, [cells(row) for row in rows.values()])


def times_as_many(row: Measured, peer: Measured | None) -> str:
    if peer is None or not row.registers:
        return "-"
    return f"{statistics.median(a.per_second / b.per_second for a, b in zip(row.runs, peer.runs, strict=True)):.2f}"


def aims(rows: dict[str, Measured]) -> str:
    """Each aim with the figure that decides it; an aim whose rows were not measured is left out."""
    ours = [row for row in rows.values() if row.ours]
    lines: list[list[str]] = []

    def aim(text: str, figure: float, met: bool) -> None:
        lines.append([text, number(figure), "pass" if met else "**FAIL**"])

    if OURS in rows and "oidc-provider" in rows:
        times = float(times_as_many(rows[OURS], rows["oidc-provider"]))
        aim("at least 2 times node-oidc-provider's requests/s", times, times >= 2)
    if OURS in rows and "mcp-sdk" in rows:
        times = float(times_as_many(rows[OURS], rows["mcp-sdk"]))
        aim("more requests/s than the MCP Python SDK", times, times > 1)
    if ours:
        p99 = max(row.p99_ms for row in ours)
        resident = max(row.resident_mib for row in ours)
        start = max(row.start_seconds for row in ours)
        aim("p99 below 25 ms, every row", p99, p99 < 25)
        aim("resident below 120 MiB, every row", resident, resident < 120)
        aim("start to first answer below 1 s, every row", start, start < 1)
    if "read-1k" in rows and "read-1m" in rows:
        slower = statistics.median(
            a.per_second / b.per_second for a, b in zip(rows["read-1k"].runs, rows["read-1m"].runs, strict=True)
        )
        aim("reads among 1,000,000 clients at most 1.5 times slower than among 1,000", slower, slower <= 1.5)
    return table(["aim", "measured", ""], lines)


def number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if value >= 1000
        else f"{value:.0f}"
        if value >= 100
        else f"{value:.1f}"
        if value >= 10
        else f"{value:.2f}"
    )


NOTES = """\
The registrar answers 201 only after the client and its audit event are committed to SQLite (WAL, synchronous=FULL). Both
peers keep clients in memory and write nothing to disk: node-oidc-provider in its development adapter, which holds the
last thousand, the MCP SDK in a dictionary that grows with every run (so does its resident memory). They do not do the
same work either: node-oidc-provider also validates much metadata and issues a registration access token; the MCP SDK
validates less and issues none. All of them get the same 400-byte body.

After each run the database is counted: clients and their audit events must be equal in number, and equal to the answers
of 201 (give or take the at most 64 requests that are under way when the load stops); an answer with any other status
than the row's own ends the benchmark. `times better` and the `x` columns are medians of the ratios turn by turn. The
latencies are wrk's, with its correction for coordinated omission. Resident memory counts mapped files.
"""


def write(rows: dict[str, Measured], machine: dict[str, str], to: Path | None) -> None:
    """Print the tables, and keep them where asked."""
    parts = [
        ("Against the peers, same request (1.00 is even, the worst first)", against_peers(rows)),
        ("Aims", aims(rows)),
        ("Every row", measurements(rows)),
    ]
    print("\n" + "\n\n".join(f"{title}\n{text}" for title, text in parts))
    if to is None:
        return
    sections = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts)
    repeat = "Repeat with `make bench` (root installs wrk by itself; Node.js must be there). Written by `bench/run.py`: do not edit."
    about = "\n".join(f"- **{name}:** {text}" for name, text in machine.items())
    to.write_text(f"# Benchmark\n\n{repeat}\n\n{sections}\n\n## What is compared\n\n{NOTES}\n## Machine\n\n{about}\n")
    print(f"\nwritten: {to}")
