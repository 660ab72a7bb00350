"""`registrar migrate` and `registrar copy`: what is done to databases rather than to what is in them."""

from __future__ import annotations

import asyncio

import click

from registrar import storage
from registrar.cli.render import Failure
from registrar.config import Configuration
from registrar.service.ports import StoreUnavailable


def migrate(configuration: Configuration) -> None:
    """Bring the schema of the configured database forward.

    Raises:
        Failure: the database does not answer, or a newer program made its schema.
    """
    server = configuration.settings.server
    try:
        before, after = asyncio.run(storage.migrate(server.database, server.postgresql))
    except (StoreUnavailable, ValueError) as problem:
        raise Failure(str(problem)) from None
    click.echo(f"schema {before} is now {after}" if before != after else f"schema {after} is the newest already")


def copy(source: str, target: str) -> None:
    """Copy a registry from one database to another.

    Raises:
        Failure: nothing is copied, or not everything; with the reason.
    """
    from registrar.storage.copying import CopyError

    if source == target:
        raise Failure("FROM and TO are the same database")
    try:
        number = asyncio.run(_copy(source, target))
    except (CopyError, StoreUnavailable, ValueError, OSError) as problem:
        raise Failure(str(problem)) from None
    click.echo(f"{number} rows are copied and compared")
    click.echo("The key-encryption keys are in no database: the server on the copy needs the same key_file.", err=True)


async def _copy(source: str, target: str) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from registrar.storage.copying import TABLES, copy, open_rows

    if (path := storage.sqlite_path(source)) and not path.exists():
        raise Failure(f"{path} does not exist")
    rows = await open_rows(source)
    try:
        copies = await open_rows(target)
        try:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=Console(stderr=True)) as progress:
                # Every row is read twice: to be copied, and to be compared.
                bars = {table: progress.add_task(table, total=2 * await rows.count(table)) for table in TABLES}
                for table, bar in bars.items():
                    progress.advance(bar, await copies.count(table))
                return await copy(rows, copies, lambda table, count: progress.advance(bars[table], count))
        finally:
            await copies.close()
    finally:
        await rows.close()
