"""`registrar token`: initial access tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Output


@main.group()
def token() -> None:
    """Initial access tokens: who may register, how often, for how long."""


@token.command("issue")
@common
@click.option(
    "--kind",
    type=click.Choice(["operator", "client", "user"]),
    default="operator",
    show_default=True,
    help="Who the token stands for.",
)
@click.option(
    "--uses", type=click.IntRange(min=0), default=1, show_default=True, help="How many registrations; 0 is unlimited."
)
@click.option(
    "--expires-in",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seconds until it expires; 0 is never.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="A policy that judges what is registered with it; may be repeated. The issuer's by default.",
)
@click.option("--label", default="", help="What it is for.")
@click.option("--owner", default="", help="Who answers for what is registered with it.")
@click.option(
    "--scope",
    default="dcr",
    show_default=True,
    help="Its scopes; without dcr it registers nothing, and further ones are all that may be registered with it.",
)
@click.option(
    "--address", "addresses", multiple=True, help="An address or a network from which alone it works; may be repeated."
)
@click.option(
    "--certificate", default="", help="The thumbprint (x5t#S256) of the certificate beside which alone it works."
)
@click.option("--attestation", is_flag=True, help="It works only with an attestation that the issuer believes.")
@click.option(
    "--labelled", multiple=True, metavar="NAME=VALUE", help="A label of every client that is registered with it."
)
@click.option(
    "--within", multiple=True, metavar="NAME=VALUE", help="A label of all that it administers; for scopes admin.*."
)
def issue_token(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    kind: str,
    uses: int,
    expires_in: int,
    policies: tuple[str, ...],
    label: str,
    owner: str,
    scope: str,
    addresses: tuple[str, ...],
    certificate: str,
    attestation: bool,
    labelled: tuple[str, ...],
    within: tuple[str, ...],
) -> None:
    """Issue an initial access token and print it, this once."""
    from registrar.cli import operating
    from registrar.domain.access_token import Kind
    from registrar.service.labels import parsed

    async def act(desk: operating.Desk) -> None:
        value, issued = await operating.issue_token(
            desk,
            kind=Kind(kind),
            policy=" ".join(policies),
            label=label,
            owner=owner,
            max_uses=uses,
            lifetime=expires_in,
            scope=tuple(scope.split()),
            addresses=addresses,
            certificate=certificate,
            attestation=attestation,
            labels=parsed(labelled),
            within=parsed(within),
        )
        Output(as_json).record(
            {"token": value, **msgspec.to_builtins(issued.public(desk.now))},
            "Initial access token. It is shown this once; only its digest is kept.",
        )

    operating.run(configured(config, dev=dev), issuer, act)


@token.command("list")
@common
def list_tokens(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List initial access tokens."""
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        rows = [one.public(desk.now) async for one in operating.tokens(desk)]
        Output(as_json).table(
            rows, ("token_id", "kind", "status", "uses", "max_uses", "expires_at", "policy", "label", "owner")
        )

    operating.run(configured(config, dev=dev), issuer, act)


@token.command("revoke")
@common
@click.argument("token_id")
@click.option(
    "--cascade", type=click.Choice(["suspend", "delete"]), help="What becomes of the clients registered with it."
)
def revoke_token(
    config: Path | None, dev: bool, issuer: str, as_json: bool, token_id: str, cascade: str | None
) -> None:
    """Revoke an initial access token; what was registered with it stays, unless --cascade says otherwise.

    With --cascade, a token that is revoked already is one to go on with.
    """
    from registrar.cli import bulk, operating
    from registrar.service.bulk import Act

    async def act(desk: operating.Desk) -> None:
        await operating.revoke_token(desk, token_id, again=cascade is not None)
        told: dict[str, Any] = {"token_id": token_id, "status": "revoked"}
        if cascade:
            job = await bulk.cascade(desk, Act(cascade), token_id)
            told |= {"job_id": job.job_id, "changed": job.changed, "left_alone": job.left_alone}
        Output(as_json).record(told, "Revoked.")

    operating.run(configured(config, dev=dev), issuer, act)
