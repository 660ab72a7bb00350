"""`registrar template`: clients that instances refer to."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from registrar.cli.commands import common, configured, main
from registrar.cli.metadata import members_of
from registrar.cli.render import Output

if TYPE_CHECKING:
    from registrar.service.templates import Changed, Wanted


@main.group()
def template() -> None:
    """Templates: clients that instances refer to, and are changed, suspended and ended with."""


def _written(command: Any) -> Any:
    """The options that say what a template is to be."""
    options = (
        click.option(
            "--metadata",
            type=click.File("rb"),
            required=True,
            help="A JSON object of client metadata; - is standard input.",
        ),
        click.option(
            "--allow",
            "allowed",
            multiple=True,
            help="A member that instances may choose for themselves; may be repeated.",
        ),
        click.option(
            "--policy",
            "policies",
            multiple=True,
            help="A policy that judges it and its instances; may be repeated. The issuer's by default.",
        ),
        click.option("--description", default="", help="What it is for."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _wanted(metadata: IO[bytes], allowed: tuple[str, ...], policies: tuple[str, ...], description: str) -> Wanted:
    from registrar.domain.metadata import Presented
    from registrar.service.templates import Wanted

    return Wanted(Presented(members_of(metadata, "--metadata")), allowed, " ".join(policies), description)


def _tell(output: Output, changed: Changed, done: str) -> None:
    shown = changed.template.public()
    if output.as_json:
        output.dump({**msgspec.to_builtins(shown), "waiting": changed.waiting})
        return
    output.record(shown, done)
    if changed.waiting:
        output.say(
            f"{changed.waiting} instances have a secret that the server cannot read as this template needs it to; "
            "each is complete when it next reads or updates its registration."
        )


@template.command("list")
@common
def list_templates(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List templates."""
    from registrar.cli import operating
    from registrar.service import templates

    async def act(desk: operating.Desk) -> None:
        rows = []
        async for one in templates.every(desk.registry, desk.issuer):
            instances = await templates.instances_of(desk.registry, desk.issuer, one.template_id)
            rows.append({**msgspec.to_builtins(one.public()), "instances": instances})
        columns = ("template_id", "state", "version", "instances", "policy", "origin", "updated_at", "description")
        Output(as_json).table(rows, columns)

    operating.run(configured(config, dev=dev), issuer, act)


@template.command("show")
@common
@click.argument("template_id")
def show_template(config: Path | None, dev: bool, issuer: str, as_json: bool, template_id: str) -> None:
    """Show a template."""
    from registrar.cli import operating
    from registrar.service import templates

    async def act(desk: operating.Desk) -> None:
        found = await templates.find(desk.registry, desk.issuer, template_id)
        instances = await templates.instances_of(desk.registry, desk.issuer, template_id)
        Output(as_json).record({**msgspec.to_builtins(found.public()), "instances": instances})

    operating.run(configured(config, dev=dev), issuer, act)


@template.command("create")
@common
@click.argument("template_id")
@_written
def create_template(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    template_id: str,
    metadata: IO[bytes],
    allowed: tuple[str, ...],
    policies: tuple[str, ...],
    description: str,
) -> None:
    """Create a template, judged as a registration is."""
    from registrar.cli import operating
    from registrar.service import templates

    wanted = _wanted(metadata, allowed, policies, description)

    async def act(desk: operating.Desk) -> None:
        made = await templates.create(desk.registry, desk.issuer, desk.operator, template_id, wanted)
        _tell(Output(as_json), made, "Created.")

    operating.run(configured(config, dev=dev), issuer, act)


@template.command("change")
@common
@click.argument("template_id")
@_written
@click.option("--version", type=click.IntRange(min=1), help="Change it only if it still has this version.")
def change_template(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    template_id: str,
    metadata: IO[bytes],
    allowed: tuple[str, ...],
    policies: tuple[str, ...],
    description: str,
    version: int | None,
) -> None:
    """Replace a template, and with it every instance from its next request on."""
    from registrar.cli import operating
    from registrar.service import templates

    wanted = _wanted(metadata, allowed, policies, description)

    async def act(desk: operating.Desk) -> None:
        acting = (desk.registry, desk.issuer, desk.operator)
        _tell(Output(as_json), await templates.change(*acting, template_id, wanted, expected=version), "Changed.")

    operating.run(configured(config, dev=dev), issuer, act)


def _state_command(name: str, done: str, meaning: str) -> None:
    @template.command(name, help=meaning)
    @common
    @click.argument("template_id")
    @click.option("--reason", default="", help="Why; it goes into the audit.")
    def move(config: Path | None, dev: bool, issuer: str, as_json: bool, template_id: str, reason: str) -> None:
        from registrar.cli import operating
        from registrar.service import templates

        acts = {"enable": templates.enable, "disable": templates.disable, "delete": templates.delete}

        async def act(desk: operating.Desk) -> None:
            moved = (await acts[name](desk.registry, desk.issuer, desk.operator, template_id, reason)).template
            shown = {"template_id": template_id, "state": moved.state.value, "version": moved.version}
            Output(as_json).record(shown, done)

        operating.run(configured(config, dev=dev), issuer, act)


_state_command("enable", "Enabled.", "Enable a template: its instances may do again what they did before.")
_state_command("disable", "Disabled.", "Disable a template: its instances are suspended, and there are no new ones.")
_state_command("delete", "Deleted.", "Delete a template and its instances; its name is never used again.")
