"""The measurements as tables: against the peers, against the aims, and all of them; printed and kept in RESULTS.md."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load import CONNECTIONS, Run

OURS = "public"
ON_POSTGRESQL = {"hydra": "Ory Hydra", "keycloak": "Keycloak"}
"""Peers that are compared with the registrar on PostgreSQL."""
PEERS = {"oidc-provider": "node-oidc-provider", "mcp-sdk": "MCP Python SDK", "fastmcp": "FastMCP"}
TOKENS = (
    ("credentials", "peer-credentials", "tokens for client credentials"),
    ("codes", "peer-codes", "exchanged codes"),
)
RATES = {"per_second": "requests/s", "per_cpu_second": "requests per CPU second"}
QUIET = 0.05
TIMES = {"p50_ms": "p50 ms", "p99_ms": "p99 ms"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One row's runs, and what its server took to start and to stay."""

    name: str
    title: str
    ours: bool
    registers: bool
    beside: bool
    """Whether a database server works beside it, which `others` then is."""
    runs: list[Run]
    starts: list[float]
    resident_mib: float

    def median(self, measure: str) -> float:
        return statistics.median(float(getattr(run, measure)) for run in self.runs)

    def times(self, other: "Measured", measure: str = "per_second") -> float:
        """How many times the other's: the median of the ratios turn by turn, which a noisy machine disturbs least."""
        turns = zip(self.runs, other.runs, strict=True)
        return statistics.median(float(getattr(a, measure) / getattr(b, measure)) for a, b in turns)

    @property
    def start_seconds(self) -> float:
        return statistics.median(self.starts)


def against_peers(rows: dict[str, Measured]) -> str:
    """How many times better the registrar is than each peer at the same request, the worst first."""
    found: list[tuple[float, list[str]]] = []
    for name, title in (PEERS | ON_POSTGRESQL).items():
        mine = "pg-public" if name in ON_POSTGRESQL else OURS
        if mine not in rows or name not in rows:
            continue
        for measure, ours, theirs, better in compared(rows[mine], rows[name]):
            word = "**behind**" if better < 0.995 else "ahead" if better > 1.005 else "even"
            found.append((better, [f"{measure}, against {title}", number(ours), number(theirs), f"{better:.2f}", word]))
    return table(["measure", "registrar", "peer", "times better", ""], [cells for _, cells in sorted(found)])


def compared(ours: Measured, theirs: Measured) -> Iterator[tuple[str, float, float, float]]:
    """Measure, ours, theirs, times better."""
    for measure, title in RATES.items():
        yield title, ours.median(measure), theirs.median(measure), ours.times(theirs, measure)
    for measure, title in TIMES.items():
        yield title, ours.median(measure), theirs.median(measure), theirs.times(ours, measure)
    resident, start = theirs.resident_mib / ours.resident_mib, theirs.start_seconds / ours.start_seconds
    yield "resident MiB", ours.resident_mib, theirs.resident_mib, resident
    yield "start to first answer, s", ours.start_seconds, theirs.start_seconds, start


def every_row(rows: dict[str, Measured]) -> str:
    """All that was measured; a row that registers also in multiples of the peers."""

    def cells(row: Measured) -> list[str]:
        medians = [number(row.median(measure)) for measure in (*RATES, *TIMES)]
        times = [f"{row.times(rows[name]):.2f}" if row.registers and name in rows else "-" for name in PEERS]
        return [
            row.title,
            *medians,
            number(row.resident_mib),
            number(row.start_seconds),
            f"{row.median('busy'):.0%}",
            f"{row.median('disturbed'):.0%}",
            *times,
        ]

    header = ["request", *RATES.values(), *TIMES.values(), "resident MiB", "start s", "core busy", "others"]
    return table([*header, *(f"x {title}" for title in PEERS.values())], [cells(row) for row in rows.values()])


def aims(rows: dict[str, Measured]) -> str:
    """Each aim with the figure that decides it; an aim whose rows were not measured is left out."""
    lines: list[list[str]] = []

    def aim(text: str, figure: float, met: bool) -> None:
        lines.append([text, number(figure), "pass" if met else "**FAIL**"])

    ours = [row for row in rows.values() if row.ours]
    if OURS in rows and "oidc-provider" in rows:
        times = rows[OURS].times(rows["oidc-provider"])
        aim("at least 2 times the requests/s of node-oidc-provider", times, times >= 2)
    if OURS in rows and "mcp-sdk" in rows:
        times = rows[OURS].times(rows["mcp-sdk"])
        aim("more requests/s than the MCP Python SDK", times, times > 1)
    if OURS in rows and "fastmcp" in rows:
        times = rows[OURS].times(rows["fastmcp"])
        aim("more requests/s than FastMCP", times, times > 1)
    for name, title in ON_POSTGRESQL.items():
        if "pg-public" in rows and name in rows:
            times = rows["pg-public"].times(rows[name])
            aim(f"at least 10 times the requests/s of {title}, both on PostgreSQL", times, times >= 10)
    if OURS in rows and "varied" in rows:
        slower = rows[OURS].times(rows["varied"])
        aim("bodies that differ at most 1.1 times slower than one body", slower, slower <= 1.1)
    if ours:
        # Callers that wait for their answer wait CONNECTIONS / rate on the average, whatever serves them.
        spread = max(row.median("p99_ms") * row.median("per_second") / (CONNECTIONS * 1000) for row in ours)
        resident = max(row.resident_mib for row in ours)
        start = max(row.start_seconds for row in ours)
        if OURS in rows:
            p99 = rows[OURS].median("p99_ms")
            aim("p99 of a registration below 25 ms", p99, p99 < 25)
        aim(f"p99 at most twice what {CONNECTIONS} callers wait on the average, every row", spread, spread <= 2)
        aim("resident below 120 MiB, every row", resident, resident < 120)
        aim("start to first answer below 1 s, every row", start, start < 1)
    for mine, theirs, what in TOKENS:
        if mine in rows and theirs in rows:
            times = rows[mine].times(rows[theirs])
            aim(f"more {what} a second than node-oidc-provider", times, times > 1)
    if "read-1k" in rows and "read-1m" in rows:
        slower = rows["read-1k"].times(rows["read-1m"])
        aim("reads among 1,000,000 clients at most 1.5 times slower than among 1,000", slower, slower <= 1.5)
    return table(["aim", "measured", ""], lines)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table that is also readable as text: first column to the left, numbers to the right."""
    if not rows:
        return "(needs rows that were not measured)"
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width if not at else "-" * (width - 1) + ":" for at, width in enumerate(widths)]

    def line(cells: list[str]) -> str:
        first, *rest = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join([cells[0].ljust(len(first)), *rest])} |"

    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])


def number(value: float) -> str:
    """Three figures or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


REPEAT = """\
Repeat with `make bench`: root has wrk installed by it, anybody else needs wrk first; Node.js must be there. Written by
`bench/run.py`, so do not edit."""

NOTES = """\
The registrar answers 201 only after the client and its audit event are committed to SQLite (WAL, synchronous=FULL), or
to PostgreSQL, as Hydra and Keycloak do; that has files of its log to use again, as any has after its first checkpoint
under load (`min_wal_size`), for all three. The other peers keep clients in memory and write nothing to disk:
node-oidc-provider in its development adapter, which holds the last thousand, the MCP SDK and FastMCP in a dictionary that
grows with every run (so does their resident memory). They do not do the same work either: node-oidc-provider also
validates much metadata and issues a registration access token; the MCP SDK and FastMCP validate less and issue none. All of them get the same 400-byte body, except in the row of bodies
that differ, which are more than any memory of the registrar's holds. Of that body Keycloak keeps neither application_type
nor software_version, and ignores the scope openid. oidc-provider asks for Node.js 22 or later; on an older one it runs and
warns.

The rows that read send the tokens of 1,000 clients in turn, in the large registry 1,000 that are spread evenly over it.

After each run the database is counted: clients and their audit events must be equal in number, and equal to the answers
of 201 (give or take the at most 64 requests that are under way when the load stops); an answer with any other status
than the row's own ends the benchmark. `times better` and the `x` columns are medians of the ratios turn by turn. The
latencies are wrk's, with its correction for coordinated omission. Resident memory counts mapped files. `core busy` is how much of
its core the server used, `others` what other programs took of either core: where it says PostgreSQL, the database;
elsewhere, programs with no part in this."""


def disturbance(rows: dict[str, Measured]) -> str:
    """A warning where other programs were at work: rates and latencies then say little, and CPU seconds a little more."""
    worst = max((row.median("disturbed") for row in rows.values() if not row.beside), default=0.0)
    if worst < QUIET:
        return ""
    return f"**Disturbed:** other programs took up to {worst:.0%} of a core during these runs. Repeat when the machine is quiet."


def write(rows: dict[str, Measured], machine: dict[str, str], to: Path | None) -> None:
    """Print the tables, and keep them where asked."""
    parts = [
        ("Against the peers, same request (1.00 is even, the worst first)", against_peers(rows)),
        ("Aims", aims(rows)),
        ("Every row", every_row(rows)),
    ]
    tables = [f"## {title}\n\n{text}" for title, text in parts]
    warning = [found] if (found := disturbance(rows)) else []
    print("\n" + "\n\n".join([*tables, *warning]))
    if to is None:
        return
    about = "\n".join(f"- **{name}:** {text}" for name, text in machine.items())
    page = ["# Benchmark", REPEAT, *warning, *tables, f"## What is compared\n\n{NOTES}", f"## Machine\n\n{about}\n"]
    to.write_text("\n\n".join(page))
    print(f"\nwritten: {to}")
