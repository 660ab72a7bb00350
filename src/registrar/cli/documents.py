"""`registrar document`: clients whose identifier is the URL of the document that describes them."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Output


@main.group()
def document() -> None:
    """Client ID Metadata Documents: clients that nobody registered, and what becomes of them."""


@document.command("list")
@common
def list_documents(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List the documents that are remembered."""
    from registrar.cli import operating
    from registrar.service import document_administration as documents

    async def act(desk: operating.Desk) -> None:
        rows = [one async for one in documents.every(desk.registry, desk.issuer)]
        Output(as_json).table(rows, ("client_id", "state", "fetched_at", "changed_at", "held", "reason"))

    operating.run(configured(config, dev=dev), issuer, act)


@document.command("show")
@common
@click.argument("url")
def show_document(config: Path | None, dev: bool, issuer: str, as_json: bool, url: str) -> None:
    """Show what is known of a document, by its URL."""
    from registrar.cli import operating
    from registrar.service import document_administration as documents

    async def act(desk: operating.Desk) -> None:
        known = await documents.find(desk.registry, desk.issuer, url)
        Output(as_json).record(msgspec.to_builtins(documents.shown(desk.issuer, known, desk.now)))

    operating.run(configured(config, dev=dev), issuer, act)


@document.command("block")
@common
@click.argument("url")
@click.option("--reason", default="", help="Why; it goes into the audit.")
def block_document(config: Path | None, dev: bool, issuer: str, as_json: bool, url: str, reason: str) -> None:
    """Block a client by its URL, also one that nobody has named yet; nothing that it has works any more."""
    from registrar.cli import operating
    from registrar.service import document_administration as documents

    async def act(desk: operating.Desk) -> None:
        blocked = await documents.block(desk.registry, desk.issuer, desk.operator, url, reason)
        Output(as_json).record({"client_id": blocked.client_id, "state": blocked.state.value}, "Blocked.")

    operating.run(configured(config, dev=dev), issuer, act)


@document.command("allow")
@common
@click.argument("url")
@click.option("--digest", default="", help="Of what was looked at, where it is held; `show` prints it.")
@click.option("--reason", default="", help="Why; it goes into the audit.")
def allow_document(
    config: Path | None, dev: bool, issuer: str, as_json: bool, url: str, digest: str, reason: str
) -> None:
    """Allow a client that was blocked, or that is held until somebody has looked at it."""
    from registrar.cli import operating
    from registrar.service import document_administration as documents

    async def act(desk: operating.Desk) -> None:
        allowed = await documents.allow(desk.registry, desk.issuer, desk.operator, url, digest=digest, reason=reason)
        Output(as_json).record({"client_id": allowed.client_id, "state": allowed.state.value}, "Allowed.")

    operating.run(configured(config, dev=dev), issuer, act)


@document.command("forget")
@common
@click.argument("url")
@click.option("--reason", default="", help="Why; it goes into the audit.")
def forget_document(config: Path | None, dev: bool, issuer: str, as_json: bool, url: str, reason: str) -> None:
    """Forget a document, with everything that people allowed its client; it may come again, one that was blocked too."""
    from registrar.cli import operating
    from registrar.service import document_administration as documents

    async def act(desk: operating.Desk) -> None:
        forgotten = await documents.forget(desk.registry, desk.issuer, desk.operator, url, reason)
        Output(as_json).record({"client_id": forgotten}, "Forgotten.")

    operating.run(configured(config, dev=dev), issuer, act)
