"""`registrar keys`: the signing keys of an issuer."""

from __future__ import annotations

from pathlib import Path

import click

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Output


@main.group("keys")
def signing_keys() -> None:
    """Signing keys of the issuer: look at them, replace them."""


@signing_keys.command("list")
@common
def list_keys(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List the signing keys, oldest first, and until when those that were replaced are published."""
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        rows = await operating.key_rows(desk)
        Output(as_json).table(rows, ("kid", "algorithm", "status", "created_at", "published_until"))

    operating.run(configured(config, dev=dev), issuer, act)


@signing_keys.command("rotate")
@common
@click.option(
    "--algorithm",
    "algorithms",
    multiple=True,
    type=click.Choice(["RS256", "ES256", "EdDSA"]),
    help="Only the key of this algorithm; may be repeated. That of RS256 signs PS256 too.",
)
@click.option(
    "--withdraw", is_flag=True, help="Remove the old keys at once, with whatever they signed: for a key that leaked."
)
def rotate_keys(
    config: Path | None, dev: bool, issuer: str, as_json: bool, algorithms: tuple[str, ...], withdraw: bool
) -> None:
    """Sign with new keys from now on; the old ones are published until nothing signed by them lives."""
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        made = await operating.rotate_keys(desk, algorithms, withdraw=withdraw)
        Output(as_json).table(
            [{"kid": key.kid, "algorithm": key.algorithm, "created_at": key.created_at} for key in made],
            ("kid", "algorithm", "created_at"),
        )

    operating.run(configured(config, dev=dev), issuer, act)
