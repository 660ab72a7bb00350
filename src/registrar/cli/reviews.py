"""`registrar review`: what is held until somebody has looked at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Output


@main.group()
def review() -> None:
    """Registrations and updates that are held: look at them, approve or reject."""


@review.command("list")
@common
def list_reviews(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List what is held."""
    from registrar.cli import operating
    from registrar.service import review as reviews

    async def act(desk: operating.Desk) -> None:
        rows = [
            {
                "client_id": one.client_id,
                "what": one.what,
                "held_at": one.since,
                "client_name": one.metadata.get("client_name"),
                "reason": one.why,
            }
            async for one, client in reviews.every(desk.registry, desk.issuer)
            if client is not None
        ]
        Output(as_json).table(rows, ("client_id", "what", "held_at", "client_name", "reason"), prose=("reason",))

    operating.run(configured(config, dev=dev), issuer, act)


@review.command("show")
@common
@click.argument("client_id")
def show_review(config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str) -> None:
    """Show what is held of a client, beside what is in force, and the digest that stands for it."""
    from registrar.cli import operating
    from registrar.service import review as reviews

    async def act(desk: operating.Desk) -> None:
        Output(as_json).record(await reviews.show(desk.registry, desk.issuer, client_id))

    operating.run(configured(config, dev=dev), issuer, act)


_DIGEST: Final = "Of what was looked at, as `show` prints it; nothing else is decided about"


def _deciding(command: Any) -> Any:
    command = click.option("--reason", default="", help="Why; it goes into the audit.")(command)
    return click.argument("client_id")(common(command))


@review.command("approve")
@click.option("--digest", required=True, help=f"{_DIGEST}.")
@_deciding
def approve(
    config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str, digest: str, reason: str
) -> None:
    """Put what is held of a client into force, exactly as it was looked at.

    The client may send another update between looking and approving; that one is not approved unseen.
    """
    from registrar.cli import operating
    from registrar.service import review as reviews

    async def act(desk: operating.Desk) -> None:
        after, secret = await reviews.approve(
            desk.registry, desk.issuer, desk.operator, client_id, digest=digest, reason=reason
        )
        shown = {"client_id": client_id, "state": after.state.value, "version": after.version}
        Output(as_json).record(shown | ({"client_secret": secret} if secret else {}), "Approved.")

    operating.run(configured(config, dev=dev), issuer, act)


@review.command("reject")
@click.option("--digest", default="", help=f"{_DIGEST} then.")
@_deciding
def reject(
    config: Path | None, dev: bool, issuer: str, as_json: bool, client_id: str, digest: str, reason: str
) -> None:
    """Take what is held of a client away: an update is forgotten, a registration ends."""
    from registrar.cli import operating
    from registrar.service import review as reviews

    async def act(desk: operating.Desk) -> None:
        after = await reviews.reject(desk.registry, desk.issuer, desk.operator, client_id, digest=digest, reason=reason)
        Output(as_json).record({"client_id": client_id, "state": after.state.value}, "Rejected.")

    operating.run(configured(config, dev=dev), issuer, act)
