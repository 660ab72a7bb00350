"""`registrar client bulk`: the same done to many clients, counted first; and `registrar token revoke --cascade`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from registrar.cli.clients import client
from registrar.cli.commands import common, configured
from registrar.cli.render import Failure, Output

if TYPE_CHECKING:
    from registrar.cli.operating import Desk
    from registrar.service.bulk import Act, Job, Selection

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_MORE: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW


@client.group("bulk")
def bulk() -> None:
    """Many clients at once: suspend, resume, delete them, or give them new secrets."""


def _selecting(command: Any) -> Any:
    """The options that say which clients."""
    for names, meaning in (
        (("--all", "everything"), "Every client of the issuer."),
        (("--labelled", "--label", "labels"), "Clients with this label, NAME=VALUE; may be repeated."),
        (("--host",), "Clients that redirect to this host."),
        (("--class", "client_class"), "Clients of this class."),
        (("--policy",), "Clients that this policy judges."),
        (
            ("--statement", "--statement-issuer", "statement_issuer"),
            "Clients that came with a statement of this [statement_issuer.NAME].",
        ),
        (("--owner",), "Clients of this owner."),
        (("--token",), "Clients registered with the initial access token of this identifier."),
        (("--template",), "Instances of this template."),
        (("--software",), "Clients with this software_id."),
    ):
        settings: dict[str, Any] = {"default": ""}
        if "everything" in names:
            settings = {"is_flag": True}
        elif "labels" in names:
            settings = {"multiple": True}
        command = click.option(*names, help=meaning, **settings)(command)
    return command


def _selection(labels: tuple[str, ...], **asked: Any) -> Selection:
    from registrar.service.bulk import Selection

    pairs = [one.partition("=") for one in labels]
    if wrong := [name for name, equals, value in pairs if not (name and equals and value)]:
        raise click.UsageError(f"--labelled is NAME=VALUE, and {wrong[0] or 'nothing'} is not")
    return Selection(labels={name: value for name, _, value in pairs}, **asked)


def _bulk_command(name: str, meaning: str, *, rotates: bool = False) -> None:
    @common
    @_selecting
    @click.option("--reason", default="", help="Why; it goes into the event of each client.")
    @click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
    @click.option("--yes", is_flag=True, help="Do it without asking.")
    def act(
        config: Path | None,
        dev: bool,
        issuer: str,
        as_json: bool,
        labels: tuple[str, ...],
        reason: str,
        dry_run: bool,
        yes: bool,
        overlap: int | None = None,
        secrets: Path | None = None,
        **asked: Any,
    ) -> None:
        from registrar.cli import operating
        from registrar.service import bulk as jobs

        selection, wanted = _selection(labels, **asked), jobs.Act(name)

        async def do(desk: Desk) -> None:
            meant, fit = await _counted(desk, wanted, selection)
            output = Output(as_json)
            if dry_run:
                output.record({"act": name, "clients": meant, "would_change": fit}, "Nothing is changed.")
                return
            if not yes:
                click.confirm(f"{fit} of {meant} clients: {name}?", abort=True, err=True)
            file = _secrets_file(secrets, _NEW)
            job = await jobs.start(
                desk.registry, desk.issuer, desk.operator, wanted, selection, reason=reason, overlap=overlap
            )
            await _done(desk, job, output, file)

        operating.run(configured(config, dev=dev), issuer, do)

    command: Callable[..., None] = act
    if rotates:
        command = click.option(
            "--overlap",
            type=click.IntRange(min=0),
            help="Seconds for which the old secrets still work; the issuer's setting by default.",
        )(command)
        command = click.option(
            "--secrets",
            type=click.Path(dir_okay=False, path_type=Path),
            help="A new file (mode 0600) for the new secrets, a JSON object to a line; without it, clients fetch theirs.",
        )(command)
    bulk.command(name, help=meaning)(command)


_bulk_command("suspend", "Suspend clients: everything they ask for is refused until they are resumed.")
_bulk_command("resume", "Resume suspended clients.")
_bulk_command("delete", "Delete clients; tombstones without credentials stay.")
_bulk_command(
    "rotate-secret",
    "Give clients new secrets; the old ones work for the overlap. A client gets its own by reading its registration.",
    rotates=True,
)


@bulk.command("list")
@common
def list_jobs(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List the jobs of the last thirty days, and how far they have come."""
    from registrar.cli import operating
    from registrar.service import bulk as jobs

    async def act(desk: Desk) -> None:
        rows = [one.public() async for one in jobs.every(desk.registry, desk.issuer)]
        Output(as_json).table(rows, ("job_id", "act", "state", "changed", "left_alone", "started_at", "reason"))

    operating.run(configured(config, dev=dev), issuer, act)


@bulk.command("continue")
@common
@click.argument("job_id")
@click.option(
    "--secrets", type=click.Path(dir_okay=False, path_type=Path), help="The file that new secrets are added to."
)
def go_on(config: Path | None, dev: bool, issuer: str, as_json: bool, job_id: str, secrets: Path | None) -> None:
    """Go on with a job that was broken off, where it was."""
    from registrar.cli import operating
    from registrar.service import bulk as jobs

    async def act(desk: Desk) -> None:
        job = await jobs.find(desk.registry, desk.issuer, job_id)
        await _done(desk, job, Output(as_json), _secrets_file(secrets, _MORE))

    operating.run(configured(config, dev=dev), issuer, act)


@bulk.command("stop")
@common
@click.argument("job_id")
def stop(config: Path | None, dev: bool, issuer: str, as_json: bool, job_id: str) -> None:
    """Stop a job, wherever it is done; what is done stays done."""
    from registrar.cli import operating
    from registrar.service import bulk as jobs

    async def act(desk: Desk) -> None:
        job = await jobs.stop(desk.registry, desk.issuer, desk.operator, job_id)
        Output(as_json).record(job.public(), "Stopped.")

    operating.run(configured(config, dev=dev), issuer, act)


async def cascade(desk: Desk, act: Act, token_id: str) -> Job:
    """Do something to all that was registered with a token, which is revoked already, so that no more will come."""
    from registrar.service import bulk as jobs

    job = await jobs.start(
        desk.registry,
        desk.issuer,
        desk.operator,
        act,
        jobs.Selection(token=token_id),
        reason=f"the initial access token {token_id} was revoked",
        whenever=True,
    )
    return await _ran(desk, job, None)


async def _counted(desk: Desk, act: Act, selection: Selection) -> tuple[int, int]:
    from registrar.service import bulk as jobs

    selection.check()
    total = await desk.registry.store.count(selection.query(desk.issuer.name))
    with progress_bar() as progress:
        bar = progress.add_task("counting", total=total)
        meant, fit, _ = await jobs.survey(
            desk.registry, desk.issuer, act, selection, tell=lambda count: progress.advance(bar, count)
        )
    return meant, fit


async def _done(desk: Desk, job: Job, output: Output, file: int | None) -> None:
    try:
        job = await _ran(desk, job, file)
    finally:
        if file is not None:
            os.fsync(file)
            os.close(file)
    output.record(job.public(), "Done.")


async def _ran(desk: Desk, job: Job, file: int | None) -> Job:
    from registrar.service import bulk as jobs
    from registrar.service.ports import StoreUnavailable

    def hand_out(client_id: str, secret: str) -> None:
        if file is not None:
            os.write(file, json.dumps({"client_id": client_id, "client_secret": secret}).encode() + b"\n")

    total = await desk.registry.store.count(job.selection.query(desk.issuer.name, job.before_ms))
    with progress_bar() as progress:
        bar = progress.add_task(job.act.value, total=total, completed=job.looked_at)
        try:
            return await jobs.run(
                desk.registry,
                desk.issuer,
                job.job_id,
                hand_out=hand_out if file is not None else None,
                tell=lambda _, count: progress.advance(bar, count),
            )
        except StoreUnavailable as problem:
            raise Failure(f"{problem}; `registrar client bulk continue {job.job_id}` goes on") from None
        except (
            asyncio.CancelledError
        ):  # Ctrl-C: what is done stays done, and who stopped it may not mean to leave it there
            click.echo(f"Broken off; `registrar client bulk continue {job.job_id}` goes on.", err=True)
            raise


def _secrets_file(path: Path | None, flags: int) -> int | None:
    """A file that nobody else reads, opened before anything is done."""
    if path is None:
        return None
    try:
        return os.open(path, flags, 0o600)
    except OSError as problem:
        raise Failure(f"{path}: {problem.strerror}") from None


def progress_bar() -> Any:
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not os.isatty(2))
