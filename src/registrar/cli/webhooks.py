"""`registrar webhook`: who is told of events, what waits, and sending again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Output

if TYPE_CHECKING:
    from registrar.domain.webhook import WaitingMessage

_SHOWN: Final = 20


class Moment(click.ParamType[int]):
    """A moment as people and programs write it; as milliseconds since 1970."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A date, a date with a time (UTC where no zone is named), or seconds since 1970."""
        if isinstance(value, int):
            return value
        if value.isascii() and value.isdigit():
            return int(value) * 1000
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value} is neither a time such as 2026-11-25T19:00Z nor seconds since 1970", param, ctx)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


@main.group()
def webhook() -> None:
    """Webhooks: who is told of events, what waits for them, and sending again."""


@webhook.command("list")
@common
def list_webhooks(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List the webhooks that are told of an issuer, and how they fare."""
    from registrar.cli import operating
    from registrar.service import webhooks

    async def act(desk: operating.Desk) -> None:
        names = sorted(desk.registry.webhooks.of(desk.issuer.name))
        rows = [await webhooks.public(desk.registry, desk.issuer, name) for name in names]
        Output(as_json).table(rows, ("webhook", "state", "waiting", "given_up", "next_attempt_at", "url"))

    operating.run(configured(config, dev=dev), issuer, act)


@webhook.command("show")
@common
@click.argument("name")
def show_webhook(config: Path | None, dev: bool, issuer: str, as_json: bool, name: str) -> None:
    """Show a webhook and the messages that wait for it, the next ones first."""
    from registrar.cli import operating
    from registrar.service import webhooks

    async def act(desk: operating.Desk) -> None:
        found = await webhooks.public(desk.registry, desk.issuer, name)
        rows: list[WaitingMessage] = []
        async for one in webhooks.waiting(desk.registry, desk.issuer, name):
            if len(rows) == _SHOWN:
                break
            rows.append(one)
        output = Output(as_json)
        if as_json:
            output.record({**msgspec.to_builtins(found), "messages": rows})
            return
        output.record(found)
        if rows:
            output.table(rows, ("next_attempt_at", "id", "type", "attempts", "problem"))

    operating.run(configured(config, dev=dev), issuer, act)


@webhook.command("dead")
@common
@click.argument("name")
def list_given_up(config: Path | None, dev: bool, issuer: str, as_json: bool, name: str) -> None:
    """List the messages that were given up; `replay --given-up` sends them again."""
    from registrar.cli import operating
    from registrar.service import webhooks

    async def act(desk: operating.Desk) -> None:
        rows = [one async for one in webhooks.given_up(desk.registry, desk.issuer, name)]
        Output(as_json).table(rows, ("given_up_at", "id", "type", "attempts", "problem"))

    operating.run(configured(config, dev=dev), issuer, act)


@webhook.command("replay")
@common
@click.argument("name")
@click.option("--since", type=Moment(), help="Events from this time on: 2026-11-25T19:00Z, or seconds since 1970.")
@click.option("--until", type=Moment(), default=0, help="And before this one; now, where none is given.")
@click.option("--id", "ids", multiple=True, help="The message of this identifier; may be repeated.")
@click.option("--given-up", is_flag=True, help="What was given up.")
def replay(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    name: str,
    since: int | None,
    until: int,
    ids: tuple[str, ...],
    given_up: bool,
) -> None:
    """Send messages again, under the identifiers that they had: out of the log, or what was given up.

    They are put into the outbox; a running server sends them.
    """
    from registrar.cli import operating
    from registrar.service import webhooks

    if (since is not None) + bool(ids) + given_up != 1:
        raise click.UsageError("one of --since, --id and --given-up says what is sent again")

    async def act(desk: operating.Desk) -> None:
        acting = (desk.registry, desk.issuer, desk.operator, name)
        if given_up:
            count = await webhooks.replay_given_up(*acting)
        elif ids:
            count = await webhooks.replay_named(*acting, ids)
        else:
            count = await webhooks.replay(*acting, since_ms=since or 0, until_ms=until)
        said = (
            "In the outbox; a running server sends it." if count else "Nothing of that is there, or it is not wanted."
        )
        Output(as_json).record({"webhook": name, "replayed": count}, said)

    operating.run(configured(config, dev=dev), issuer, act)


@webhook.command("test")
@common
@click.argument("name")
def try_out(config: Path | None, dev: bool, issuer: str, as_json: bool, name: str) -> None:
    """Send a message of the type webhook.test from here, once, and tell what came of it."""
    from registrar.cli import operating
    from registrar.service import webhooks

    async def act(desk: operating.Desk) -> None:
        told = await webhooks.try_out(desk.registry, desk.issuer, name)
        Output(as_json).record(told, "Delivered." if told.delivered else "Not delivered.")
        if not told.delivered:
            raise SystemExit(1)

    operating.run(configured(config, dev=dev), issuer, act)


@webhook.command("enable")
@common
@click.argument("name")
@click.option("--reason", default="", help="Why; it goes into the audit.")
def enable(config: Path | None, dev: bool, issuer: str, as_json: bool, name: str, reason: str) -> None:
    """Let a webhook be told again whose endpoint had answered that it is gone (410)."""
    from registrar.cli import operating
    from registrar.service import webhooks

    async def act(desk: operating.Desk) -> None:
        await webhooks.enable(desk.registry, desk.issuer, desk.operator, name, reason)
        found = await webhooks.public(desk.registry, desk.issuer, name)
        Output(as_json).record(found, "Enabled. What was given up is still there: replay --given-up sends it.")

    operating.run(configured(config, dev=dev), issuer, act)
