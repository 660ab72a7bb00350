"""`registrar key-file`: key-encryption keys replaced while servers go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from registrar.cli.bulk import progress_bar
from registrar.cli.commands import configured, main
from registrar.cli.render import Failure, Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from registrar.cli.operating import Desk
    from registrar.config import Configuration
    from registrar.service.rewrapping import Found

SETTLED: Final = 60
"""Seconds after a change of the file before a key may leave it: what servers had under way is then stored."""


@main.group("key-file")
def key_file() -> None:
    """Key-encryption keys, under which secrets and signing keys lie: add, use, wrap anew, retire."""


def _common(command: Any) -> Any:
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)
    command = click.option("--dev", is_flag=True, help="The registry of `serve --dev` in this folder.")(command)
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration file (registrar.toml here, if it exists).",
    )(command)


def _path(configuration: Configuration) -> Path:
    path = configuration.key_file
    if path is None or not path.exists():
        raise Failure(f"there is no key file{f' {path}' if path else ''}; `registrar init` makes one")
    return path


def _run(configuration: Configuration, act: Callable[[Desk], Awaitable[None]]) -> None:
    """Act on the registry as a whole: these keys are of no issuer."""
    from registrar.cli import operating

    operating.run(configuration, next(iter(configuration.settings.issuer)), act)


async def _counted(desk: Desk) -> Found:
    from registrar.service import rewrapping
    from registrar.service.ports import ClientQuery

    total = await desk.registry.store.count(ClientQuery())
    with progress_bar() as progress:
        bar = progress.add_task("counting", total=total)
        return await rewrapping.counted(desk.registry, lambda count: progress.advance(bar, count))


@key_file.command("list")
@_common
def list_keys(config: Path | None, dev: bool, as_json: bool) -> None:
    """List the keys of the file, newest first, and how much lies under each."""
    configuration = configured(config, dev=dev)
    _path(configuration)

    async def act(desk: Desk) -> None:
        found = await _counted(desk)
        labels = [one.hex() for one in desk.registry.keys.labels]
        rows = [
            {"label": label, "use": "opens" if at else "wraps and opens", "wrapped": found.by_label[label]}
            for at, label in enumerate(labels)
        ]
        rows += [
            {"label": label, "use": "missing", "wrapped": count}
            for label, count in found.by_label.items()
            if label not in labels
        ]
        Output(as_json).table(rows, ("label", "use", "wrapped"))

    _run(configuration, act)


@key_file.command("add")
@_common
def add(config: Path | None, dev: bool, as_json: bool) -> None:
    """Add a new key that opens and does not wrap yet: to be copied to every machine before `rotate --use` anywhere."""
    from registrar.config import key_file as files

    path = _path(configured(config, dev=dev))
    label = _changed(lambda: files.add_key(path, use=False))
    Output(as_json).record(
        {"label": label, "key_file": str(path)}, "Added. Copy the file to every machine, then use it."
    )


@key_file.command("rotate")
@_common
@click.option("--use", "label", default="", help="A key that is in the file, instead of a new one.")
def rotate(config: Path | None, dev: bool, as_json: bool, label: str) -> None:
    """Wrap under a new key from now on; servers on this machine notice by themselves.

    Where several machines have copies of the file, `add` comes first, and then `rotate --use` on each.
    """
    from registrar.config import key_file as files

    path = _path(configured(config, dev=dev))
    if label:
        _changed(lambda: files.use_key(path, label))
    else:
        label = _changed(lambda: files.add_key(path, use=True))
    Output(as_json).record(
        {"label": label, "key_file": str(path)}, "It wraps from now on. `rewrap` brings the rest under it."
    )


@key_file.command("rewrap")
@_common
def rewrap(config: Path | None, dev: bool, as_json: bool) -> None:
    """Wrap everything under the newest key, beside servers that go on; broken off, it goes on where it was."""
    from registrar.service import rewrapping
    from registrar.service.ports import ClientQuery

    configuration = configured(config, dev=dev)
    _path(configuration)

    async def act(desk: Desk) -> None:
        total = await desk.registry.store.count(ClientQuery())
        with progress_bar() as progress:
            bar = progress.add_task("rewrap", total=total)
            found = await rewrapping.rewrap(desk.registry, desk.operator, lambda count: progress.advance(bar, count))
        told = {"label": desk.registry.keys.labels[0].hex(), "rewrapped": found.changed}
        Output(as_json).record(told | ({"unreadable": found.unreadable} if found.unreadable else {}), "Done.")

    _run(configuration, act)


@key_file.command("retire")
@_common
@click.argument("label")
def retire(config: Path | None, dev: bool, as_json: bool, label: str) -> None:
    """Take a key out of the file, once nothing lies under it any more.

    Backups of the database that were made before `rewrap` need it still: keep it with them.
    """
    from registrar.config import key_file as files

    configuration = configured(config, dev=dev)
    path = _path(configuration)

    async def act(desk: Desk) -> None:
        left = SETTLED - (time.time() - files.changed_at(path))
        if left > 0:
            raise Failure(
                f"the key file was changed less than {SETTLED} s ago, and servers may still store what lies "
                f"under {label}; try again in {int(left) + 1} s"
            )
        found = await _counted(desk)
        if count := found.by_label[label]:
            raise Failure(f"{count} values lie under {label}; `registrar key-file rewrap` brings them under the newest")
        _changed(lambda: files.drop_key(path, label))
        Output(as_json).record({"label": label, "key_file": str(path)}, "Retired.")

    _run(configuration, act)


def _changed(change: Callable[[], Any]) -> Any:
    from registrar.policy.document import ConfigurationError

    try:
        return change()
    except ConfigurationError as problem:
        raise Failure(str(problem)) from None
