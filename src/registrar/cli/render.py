"""Output for people and for programs: aligned lines and tables, or JSON.

Names, reasons and answers come from strangers. Nothing that they hold may steer a terminal, so whatever is printed
passes through here.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec

_CELL: Final = 60
"""Characters of a value in a table, so that one long name does not widen all rows; `show` and JSON have it whole."""
_PROSE: Final = 28
"""Columns that a sentence gets on the narrowest terminal."""
_UNFOLDED: Final = 10_000


Shown = Mapping[str, Any] | msgspec.Struct
"""What has members: plain data, or what a use case gives."""


class Failure(click.ClickException):
    """A refusal that the command line tells in one line, with exit status 1."""

    def format_message(self) -> str:
        """The line; parts of it may come from elsewhere."""
        return printable(self.message)


class Output:
    """Where a command prints; `as_json` is for programs and is exact, everything else is for people."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str) -> None:
        """A sentence for people; programs do not get it."""
        if not self.as_json:
            click.echo(printable(text))

    def dump(self, value: Any, *, indent: int | None = 2) -> None:
        """JSON; where `indent` is None on one line, for one of many."""
        text = json.dumps(value, ensure_ascii=False, indent=indent, default=msgspec.to_builtins)
        click.echo("".join(map(_escaped, text)))

    def record(self, members: Shown, heading: str = "") -> None:
        """One thing with its members."""
        if self.as_json:
            self.dump(members)
            return
        if heading:
            click.echo(printable(heading))
        for line in _lines(_plain(members), "  "):
            click.echo(line)

    def table(self, many: Sequence[Shown], columns: Sequence[str], *, prose: Collection[str] = ()) -> None:
        """Many things of a kind; on a terminal the columns named in `prose` are folded to fit, and no others ever."""
        if self.as_json:
            self.dump(list(many))
            return
        rows = [_plain(one) for one in many]
        if not rows:
            click.echo("none")
            return
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table

        used = [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]
        cells = [[_cell(column, row.get(column), whole=column in prose) for column in used] for row in rows]
        table = Table(box=None, pad_edge=False)
        fixed = 0
        for number, column in enumerate(used):
            folded = column in prose
            table.add_column(column, overflow="fold", no_wrap=not folded)
            needed = max(cell_len(column), *(cell_len(row[number]) for row in cells))
            fixed += 2 + (min(needed, _PROSE) if folded else needed)
        for row in cells:
            table.add_row(*row)
        # Identifiers are copied from here, so they are never folded: without sentences the terminal itself wraps what
        # is too long, and into a pipe every row is one line.
        console = Console(markup=False, highlight=False, emoji=False)
        console.width = max(fixed, console.width) if prose and sys.stdout.isatty() else _UNFOLDED
        console.print(table)


def _plain(shown: Shown) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = msgspec.to_builtins(shown) if isinstance(shown, msgspec.Struct) else shown
    return plain


def printable(text: str) -> str:
    """Text that leaves the terminal as it is: on one line, without anything that is not to be seen."""
    return "".join(map(_seen, text))


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character == "\n" or unicodedata.category(character) == "Zs" else "?"


def _escaped(character: str) -> str:
    """A character of JSON text; those outside strings are all printable but for the line breaks."""
    return character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]


def _lines(members: Mapping[str, Any], indent: str) -> Iterator[str]:
    shown = {printable(name): value for name, value in members.items() if value not in (None, "")}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}"
            yield from _lines(value, f"{indent}  ")
            continue
        several = isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value)
        first, *rest = value if several else [value]
        yield f"{indent}{name:<{width}}  {spoken(name, first)}"
        # One to a line: they are URIs, most of them, and a comma may be part of one.
        yield from (f"{indent}{'':<{width}}  {printable(item)}" for item in rest)


def _cell(column: str, value: Any, *, whole: bool) -> str:
    text = spoken(column, value)
    return text if whole or column.endswith("_id") or len(text) <= _CELL else f"{text[: _CELL - 1]}…"


def spoken(name: str, value: Any) -> str:
    """A value as people read it; times and limits are known by the name of their member."""
    if value is None:
        return ""
    is_time = name == "since" or name.endswith(("_at", "_until"))
    if is_time and name != "looked_at" and type(value) is int:  # that one is a number of clients
        return _time(value) if value else "never"
    if name == "max_uses" and value == 0:
        return "unlimited"
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, (list, tuple)) and not value:
        return "none"
    return printable(json.dumps(value, ensure_ascii=False))


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # of another server, which may say what it likes
        return str(seconds)


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many were done; what is given is told how many more are."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda count: progress.advance(bar, count)


@contextmanager
def measuring(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how far something is; what is given is told how many are done, and of how many."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield lambda _done, _of: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)
