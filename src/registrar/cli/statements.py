"""`registrar statement`: a directory of one's own, which issues software statements."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click
import msgspec

from registrar.cli.commands import common, configured, main
from registrar.cli.metadata import members_of
from registrar.cli.render import Output


@main.group()
def statement() -> None:
    """Software statements: issue them for those who register with you or elsewhere."""


@statement.command("issue")
@common
@click.option("--software-id", required=True, help="The software that it is about.")
@click.option(
    "--members",
    type=click.File("rb"),
    help="A JSON object of the client metadata that it attests; - is standard input.",
)
@click.option(
    "--expires-in", type=click.IntRange(min=1), default=3600, show_default=True, help="Seconds until it expires."
)
@click.option(
    "--algorithm",
    type=click.Choice(["ES256", "RS256", "PS256"]),
    default="ES256",
    show_default=True,
    help="How it is signed.",
)
@click.option("--reusable", is_flag=True, help="It may be used more than once, until it expires.")
def issue_statement(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    software_id: str,
    members: IO[bytes] | None,
    expires_in: int,
    algorithm: str,
    reusable: bool,
) -> None:
    """Issue a software statement and print it, this once."""
    from registrar.cli import operating
    from registrar.service import statements

    attested = members_of(members, "--members") if members else {}

    async def act(desk: operating.Desk) -> None:
        compact, issued = await statements.issue(
            desk.registry,
            desk.issuer,
            desk.operator,
            attested,
            software_id=software_id,
            lifetime=expires_in,
            algorithm=algorithm,
            once=not reusable,
        )
        members = {"software_statement": compact, **msgspec.to_builtins(issued.public(desk.now))}
        Output(as_json).record(members, "Software statement. It is shown this once; its state is kept.")

    operating.run(configured(config, dev=dev), issuer, act)


@statement.command("list")
@common
def list_statements(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List the statements that were issued, and what became of each."""
    from registrar.cli import operating
    from registrar.service import statements

    async def act(desk: operating.Desk) -> None:
        rows = [one.public(desk.now) async for one in statements.every(desk.registry, desk.issuer)]
        columns = ("jti", "state", "software_id", "issued_at", "expires_at", "used_at", "revoked_at")
        Output(as_json).table(rows, columns)

    operating.run(configured(config, dev=dev), issuer, act)


@statement.command("revoke")
@common
@click.argument("jti")
@click.option("--reason", default="", help="Why; it goes into the audit.")
def revoke_statement(config: Path | None, dev: bool, issuer: str, as_json: bool, jti: str, reason: str) -> None:
    """Revoke a statement; what was registered with it stays."""
    from registrar.cli import operating
    from registrar.service import statements

    async def act(desk: operating.Desk) -> None:
        revoked = await statements.revoke(desk.registry, desk.issuer, desk.operator, jti, reason)
        Output(as_json).record({"jti": jti, "state": revoked.state(desk.now).value}, "Revoked.")

    operating.run(configured(config, dev=dev), issuer, act)


@statement.command("keys")
@common
def statement_keys(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """Print what those who trust these statements configure: the issuer, where its keys are, and the keys."""
    from registrar.cli import operating
    from registrar.domain.server_metadata import ENDPOINTS, endpoint_url
    from registrar.service import keys

    async def act(desk: operating.Desk) -> None:
        await keys.ensure(desk.registry, desk.issuer)
        url = desk.issuer.url
        published = await keys.published(desk.registry, desk.issuer)
        members = {"issuer": url, "jwks_uri": endpoint_url(url, ENDPOINTS["jwks_uri"]), "jwks": published}
        Output(as_json).record(members)

    operating.run(configured(config, dev=dev), issuer, act)
