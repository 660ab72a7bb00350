"""Output for people and for pipes: tables, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click


class Output:
    """Where a command prints; `as_json` is for programs and is exact, tables are for people."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def record(self, members: Mapping[str, Any], heading: str = "") -> None:
        """One thing with its members."""
        if self._as_json:
            click.echo(json.dumps(members, ensure_ascii=False, indent=2))
            return
        if heading:
            click.echo(heading)
        width = max(map(len, members), default=0)
        for name, value in members.items():
            if value not in (None, ""):
                click.echo(f"  {name:<{width}}  {_spoken(name, value)}")

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Many things of a kind."""
        if self._as_json:
            click.echo(json.dumps(list(rows), ensure_ascii=False, indent=2))
            return
        if not rows:
            click.echo("none")
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table

        used = [column for column in columns if any(row.get(column) not in (None, "") for row in rows)]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in used:
            table.add_column(column, overflow="fold", no_wrap=column.endswith("_id"))
        for row in rows:
            table.add_row(*(_spoken(column, row.get(column, "")) for column in used))
        # Into a pipe nothing may be folded: identifiers are copied from there.
        Console(width=None if sys.stdout.isatty() else 400, markup=False, highlight=False).print(table)


def _spoken(name: str, value: Any) -> str:
    if name.endswith(("_at", "_until")) and type(value) is int:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if value else "never"
    if name == "max_uses" and value == 0:
        return "unlimited"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    # Names come from strangers: nothing that they hold may steer the terminal (domain.metadata refuses it too).
    return "".join(character if character.isprintable() else "?" for character in str(value))
