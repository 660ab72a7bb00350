"""`registrar client`: clients, one at a time and as lists."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click
import msgspec

from registrar.cli.commands import common, configured, main
from registrar.cli.metadata import client_metadata, described
from registrar.cli.render import Output


@main.group()
def client() -> None:
    """Clients: create them, look at them, suspend, resume, delete, rotate their secrets."""


@client.command("create")
@common
@described
def create_client(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    metadata: IO[bytes] | None,
    **said: Any,
) -> None:
    """Register a client by the operator's own word, and print its credentials, this once.

    The scope dcr is that of a client which earns tokens to register others with.
    """
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        made = await operating.create_client(desk, client_metadata(metadata, said))
        Output(as_json).record(dict(made), "Registered. The credentials are shown this once:")

    operating.run(configured(config, dev=dev), issuer, act)


def _filtering(command: Any) -> Any:
    """The options that choose clients."""
    for option in (
        click.option("--keys-before", type=click.DateTime(), help="Their secret is from before this time (UTC)."),
        click.option("--expires-before", type=click.DateTime(), help="They, or their secret, end before this time."),
        click.option("--never-used", is_flag=True, help="Those that were never used."),
        click.option("--unused-since", type=click.DateTime(), help="Last used before this time, or never."),
        click.option("--created-before", type=click.DateTime(), help="Registered before this time (UTC)."),
        click.option("--created-from", type=click.DateTime(), help="Registered at this time or later (UTC)."),
        click.option("--text", default="", help="A part of their name."),
        click.option("--labelled", multiple=True, metavar="NAME=VALUE", help="With this label; may be repeated."),
        click.option("--policy", default="", help="Judged by this policy."),
        click.option("--template", default="", help="Instances of this template."),
        click.option("--token", default="", help="Registered with this initial access token."),
        click.option("--statement", default="", help="With a software statement of this issuer."),
        click.option("--class", "client_class", default="", help="Of this class."),
        click.option("--flag", default="", help="Of which this rule found something odd."),
        click.option("--host", default="", help="Leading people to this host."),
        click.option("--software", default="", help="Of this software_id."),
        click.option("--owner", default="", help="Of this owner."),
        click.option(
            "--state", type=click.Choice(["pending", "active", "suspended", "deleted"]), help="In this state."
        ),
    ):
        command = option(command)
    return command


@client.command("list")
@common
@_filtering
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--after", default="", help="The client_id after which the list begins.")
@click.option("--newest", is_flag=True, help="The newest first.")
def list_clients(
    config: Path | None, dev: bool, issuer: str, as_json: bool, limit: int, after: str, newest: bool, **asked: Any
) -> None:
    """List clients in the order in which they registered, or the other way round."""
    from registrar.cli import operating
    from registrar.service import inventory

    async def act(desk: operating.Desk) -> None:
        filters = operating.filters(**asked)
        found = await inventory.page(desk.registry, desk.issuer, filters, after=after, limit=limit, newest=newest)
        columns = (
            "client_id",
            "state",
            "client_id_issued_at",
            "client_name",
            "token_endpoint_auth_method",
            "assurance",
            "owner",
            "token_label",
            "template",
        )
        Output(as_json).table([operating.client_row(one) for one in found.clients], columns)
        # A program takes a full page for a page, and a shorter one for the last, which it need not be.
        if found.after and (len(found.clients) < limit or not as_json):
            click.echo(f"{len(found.clients)} shown, and there may be more: --after {found.after}", err=True)

    operating.run(configured(config, dev=dev), issuer, act)


@client.command("export")
@common
@_filtering
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
def export_clients(config: Path | None, dev: bool, issuer: str, as_json: bool, form: str, **asked: Any) -> None:
    """Write clients to standard output, each whole but for its credentials."""
    import csv
    import json
    import sys

    from registrar.cli import operating
    from registrar.service import inventory

    del as_json

    async def act(desk: operating.Desk) -> None:
        table = csv.writer(sys.stdout, lineterminator="\n")
        columns = ("client_id", "state", "client_id_issued_at", "client_name", "software_id", "owner", "policy")
        if form == "csv":
            table.writerow(columns)
        async for one in inventory.every(desk.registry, desk.issuer, operating.filters(**asked)):
            if form == "csv":
                row = operating.client_row(one)
                table.writerow([operating.harmless(row.get(name)) for name in columns])
            else:
                click.echo(json.dumps(msgspec.to_builtins(one.public())))

    operating.run(configured(config, dev=dev), issuer, act)


@client.command("stats")
@common
@_filtering
def client_statistics(config: Path | None, dev: bool, issuer: str, as_json: bool, **asked: Any) -> None:
    """Count clients by state, policy, assurance, class, method, template, age and last use."""
    from registrar.cli import operating
    from registrar.service import inventory

    async def act(desk: operating.Desk) -> None:
        Output(as_json).record(await inventory.statistics(desk.registry, desk.issuer, operating.filters(**asked)))

    operating.run(configured(config, dev=dev), issuer, act)


@client.command("label")
@common
@click.argument("client_id")
@click.argument("labels", nargs=-1, required=True, metavar="NAME=VALUE...")
def label_client(
    config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str, labels: tuple[str, ...]
) -> None:
    """Label a client; NAME= takes a label away."""
    from registrar.cli import operating
    from registrar.service.labels import label, parsed

    async def act(desk: operating.Desk) -> None:
        after = await label(desk.registry, desk.issuer, desk.operator, client_id, parsed(labels))
        Output(as_json).record({"client_id": client_id, "labels": after.labels}, "Labelled.")

    operating.run(configured(config, dev=dev), issuer, act)


@client.command("reindex")
@common
def reindex_clients(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """Make clients from before there was an inventory findable by host, software and class."""
    from registrar.cli import operating
    from registrar.cli.render import counting
    from registrar.service import inventory

    async def act(desk: operating.Desk) -> None:
        with counting("clients", quiet=as_json) as told:
            count = await inventory.reindex(desk.registry, desk.issuer, told)
        Output(as_json).record({"clients": count}, "Done.")

    operating.run(configured(config, dev=dev), issuer, act)


@client.command("show")
@common
@click.argument("client_id")
def show_client(config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str) -> None:
    """Show everything about a client but its credentials."""
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        found = await operating.client(desk, client_id)
        seen = await operating.last_use(desk, client_id)
        Output(as_json).record({**msgspec.to_builtins(found.public()), **({"last_used_at": seen} if seen else {})})

    operating.run(configured(config, dev=dev), issuer, act)


def _state_command(name: str, done: str, meaning: str) -> None:
    @client.command(name, help=meaning)
    @common
    @click.argument("client_id")
    @click.option("--reason", default="", help="Why; it goes into the audit.")
    def change(config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str, reason: str) -> None:
        from registrar.cli import operating

        async def act(desk: operating.Desk) -> None:
            changed = await operating.change_state(desk, name, client_id, reason)
            Output(as_json).record({"client_id": client_id, "state": changed.state.value}, done)

        operating.run(configured(config, dev=dev), issuer, act)


_state_command("suspend", "Suspended.", "Suspend a client: everything it asks for is refused until it is resumed.")
_state_command("resume", "Resumed.", "Resume a suspended client.")
_state_command("delete", "Deleted.", "Delete a client; a tombstone without credentials stays.")


@client.command("receipt")
@common
@click.argument("client_id")
def receipt(config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str) -> None:
    """Print a signed statement of what is registered; `registrar audit verify-receipt` verifies it."""
    from registrar.cli import operating
    from registrar.service import receipts

    del as_json

    async def act(desk: operating.Desk) -> None:
        click.echo(await receipts.issue(desk.registry, desk.issuer, await operating.client(desk, client_id)))

    operating.run(configured(config, dev=dev), issuer, act)


@client.command("rotate-secret")
@common
@click.argument("client_id")
@click.option(
    "--overlap",
    type=click.IntRange(min=0),
    help="Seconds for which the old secret still works; the issuer's setting by default.",
)
def rotate_secret(
    config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str, overlap: int | None
) -> None:
    """Give a client a new secret and print it, this once."""
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        secret, changed = await operating.rotate_secret(desk, client_id, overlap)
        old = changed.credentials.secrets[1:]
        members = {
            "client_id": client_id,
            "client_secret": secret,
            "client_secret_expires_at": changed.credentials.secrets[0].expires_at,
            "old_secret_works_until": old[0].until if old else None,
        }
        Output(as_json).record(members, "New secret. The client also gets it at its next read.")

    operating.run(configured(config, dev=dev), issuer, act)


@client.command("reissue-token")
@common
@click.argument("client_id")
@click.option("--reason", default="", help="Why; it goes into the audit.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
def reissue_token(
    config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str, reason: str, yes: bool
) -> None:
    """Give a client a new registration access token for one that it lost, and print it, this once.

    Tokens that it has end at once. A client with a secret may get a new one too, because the old one lies under a key that
    the lost token alone opens.
    """
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        if not yes:
            click.confirm(f"{await operating.before_reissue(desk, client_id)} Go on?", abort=True, err=True)
        told = await operating.reissue_token(desk, client_id, reason)
        Output(as_json).record(told, "New registration access token. It is shown this once.")

    operating.run(configured(config, dev=dev), issuer, act)
