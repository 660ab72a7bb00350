"""`registrar migrate` and `registrar copy`: what is done to databases rather than to what is in them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Failure, Output, counting


@main.command()
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file (registrar.toml here, if it exists).",
)
def migrate(config: Path | None) -> None:
    """Bring the schema of the database forward, before a newer program serves it.

    It never goes back, and several replicas may do it at once. An SQLite file needs no command: `serve` does the same.
    """
    from registrar import storage
    from registrar.service.ports import StoreUnavailable

    server = configured(config).settings.server
    try:
        before, after = asyncio.run(storage.migrate(server.database, server.postgresql))
    except (StoreUnavailable, ValueError) as problem:
        raise Failure(str(problem)) from None
    click.echo(f"schema {before} is now {after}" if before != after else f"schema {after} is the newest already")


@main.command()
@common
@click.option("--dry-run", is_flag=True, help="Say what would become of the first that are due, and do nothing.")
def sweep(config: Path | None, dev: bool, issuer: str, as_json: bool, dry_run: bool) -> None:
    """Look at clients whose date has come: warn, suspend or delete those that nobody uses. Servers do it by themselves.

    It says, too, that the clock of this machine is right: servers that wait because it went ahead go on.
    """
    from registrar.cli import operating
    from registrar.domain.lifecycle import Step
    from registrar.service import passage
    from registrar.service import sweep as sweeping

    async def act(desk: operating.Desk) -> None:
        with counting("clients", quiet=as_json) as told:
            if not dry_run:
                await passage.believe(desk.registry)
                await sweeping.adopt(desk.registry, told=told)
            counts = await sweeping.sweep(desk.registry, dry=dry_run, told=told)
        Output(as_json).record({step.value: counts[step] for step in Step}, "Would be." if dry_run else "Done.")

    operating.run(configured(config, dev=dev), issuer, act)


@main.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy a registry from the database URL FROM to the empty database URL TO, and compare every row.

    Stop the servers first. A copy that is broken off goes on where it was when the same command is given again. Passwords
    are better kept in ~/.pgpass or PGPASSWORD than in a command.
    """
    from registrar.service.ports import StoreUnavailable
    from registrar.storage.copying import CopyError

    if _place(source) == _place(target):
        raise Failure("FROM and TO are the same database")
    try:
        number = asyncio.run(_copied(source, target))
    except (CopyError, StoreUnavailable, ValueError, OSError) as problem:
        raise Failure(str(problem)) from None
    click.echo(f"{number} rows are copied and compared")
    click.echo("The key-encryption keys are in no database: the server on the copy needs the same key_file.", err=True)


def _place(url: str) -> str | Path:
    """Where a database is, however a file is spelt."""
    from registrar.storage import sqlite_path

    path = sqlite_path(url)
    return path.resolve() if path else url


async def _copied(source: str, target: str) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from registrar.storage import copying, sqlite_path

    if (path := sqlite_path(source)) and not path.exists():
        raise Failure(f"{path} does not exist")
    rows = await copying.open_rows(source)
    try:
        copies = await copying.open_rows(target)
        try:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=Console(stderr=True)) as progress:
                # Every row is read twice: to be copied, and to be compared.
                bars = {table: progress.add_task(table, total=2 * await rows.count(table)) for table in copying.TABLES}
                for table, bar in bars.items():
                    progress.advance(bar, await copies.count(table))
                return await copying.copy(rows, copies, lambda table, count: progress.advance(bars[table], count))
        finally:
            await copies.close()
    finally:
        await rows.close()
