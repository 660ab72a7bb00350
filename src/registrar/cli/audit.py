"""`registrar audit`: reading, exporting and verifying what was written down; receipts and checkpoints."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Failure, Output, measuring, printable

if TYPE_CHECKING:
    from registrar.cli import operating
    from registrar.domain.checkpoint import Signed
    from registrar.service.ports import EventQuery, StoredEvent

_COLUMNS = (
    "sequence",
    "time_at",
    "issuer",
    "kind",
    "client_id",
    "actor",
    "authentication",
    "policy",
    "error",
    "reason",
)
_PAGE = 500


@main.group()
def audit() -> None:
    """The audit: who was registered, by whose leave, and whether that is still as it was written."""


def _which(command: Any) -> Any:
    """The options that choose events."""
    for option in (
        click.option("--before", "until", type=click.DateTime(), help="Events before this time (UTC)."),
        click.option("--since", type=click.DateTime(), help="Events from this time on (UTC)."),
        click.option("--client", "client_id", default="", help="Events of this client."),
        click.option("--kind", default="", help="Events of this kind, such as client.updated."),
    ):
        command = option(command)
    return command


def _query(desk: operating.Desk, kind: str, client_id: str) -> EventQuery:
    from registrar.domain.events import EVENTS
    from registrar.service.ports import EventQuery

    if kind and kind not in EVENTS:
        raise Failure(f"there is no kind of event {kind}; the reference lists them")
    # Without an issuer, those of all of them, and the registry's own: its keys, and what was erased and taken away.
    return EventQuery(desk.asked or None, kind or None, client_id or None)


async def _events(
    desk: operating.Desk, query: EventQuery, since: datetime | None, until: datetime | None, after: int = 0
) -> AsyncIterator[StoredEvent]:
    between = _between(since, until)
    while page := await desk.registry.store.events(query, after=after, limit=_PAGE):
        after = page[-1].sequence
        for one in page:
            if between(one):
                yield one


async def _sealed(desk: operating.Desk, query: EventQuery, after: int, size: int) -> AsyncIterator[StoredEvent]:
    """Events in the order of the log, from the batch after a place up to the size of a checkpoint."""
    store = desk.registry.store
    asked = (query.issuer, query.kind, query.client_id)
    while page := [one for one in await store.log(after=after, limit=_PAGE) if one.place <= size]:
        for batch in page:
            for one in await store.told(batch.writer, batch.number, batch.number):
                has = (one.event.issuer, one.event.kind, one.event.client_id)
                if all(wanted in (None, given) for wanted, given in zip(asked, has, strict=True)):
                    yield one
        after = page[-1].place


def _between(first: datetime | None, end: datetime | None) -> Callable[[StoredEvent], bool]:
    """Whether an event is of a time."""
    begin, until = (int(one.replace(tzinfo=UTC).timestamp() * 1000) if one else None for one in (first, end))

    def between(one: StoredEvent) -> bool:
        time = one.event.time_ms
        return (begin is None or time >= begin) and (until is None or time < until)

    return between


def _row(stored: StoredEvent) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(stored.event.body)
    return {"sequence": stored.sequence, "time_at": stored.event.time_ms // 1000, **body}


@audit.command("list")
@common
@_which
@click.option("--after", type=click.IntRange(min=0), default=0, help="The sequence number after which to go on.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Events at the most.")
def list_events(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    kind: str,
    client_id: str,
    since: datetime | None,
    until: datetime | None,
    after: int,
    limit: int,
) -> None:
    """List events in the order in which they were stored."""
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        rows: list[dict[str, Any]] = []
        async for one in _events(desk, _query(desk, kind, client_id), since, until, after):
            rows.append(_row(one))
            if len(rows) == limit:
                break
        Output(as_json).table(rows, _COLUMNS, prose=("reason",))
        if len(rows) == limit and not as_json:
            click.echo(f"{limit} shown, and there may be more: --after {rows[-1]['sequence']}", err=True)

    operating.run(configured(config, dev=dev), issuer, act)


@audit.command("show")
@common
@click.argument("sequence", type=click.IntRange(min=1))
def show_event(config: Path | None, dev: bool, issuer: str, as_json: bool, sequence: int) -> None:
    """Show an event whole, and who it names, where that is not erased."""
    from registrar.cli import operating
    from registrar.service.ports import EventQuery

    async def act(desk: operating.Desk) -> None:
        found = await desk.registry.store.events(EventQuery(desk.asked or None), after=sequence - 1, limit=1)
        if not found or found[0].sequence != sequence:
            raise Failure(f"there is no event {sequence}{desk.asked and f' at {desk.asked}'}")
        [one] = found
        disclosed = json.loads(one.event.personal or b"{}")
        place = {"writer": one.writer, "batch": one.batch, "position": one.position}
        named = {name: value for name, (_, value) in disclosed.items()}
        Output(as_json).record({**_row(one), "place": place, **({"names": named} if named else {})})

    operating.run(configured(config, dev=dev), issuer, act)


@audit.command("export")
@common
@_which
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "set"]),
    default="jsonl",
    show_default=True,
    help="JSON Lines, CSV, or Security Event Tokens (RFC 8417), one a line.",
)
@click.option("--personal", is_flag=True, help="Whom events name too, where that is not erased.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="The sequence number after which to go on.")
@click.option(
    "--sealed",
    is_flag=True,
    help="What a checkpoint covers alone, in the order of the log, of which --after is then a place: nothing is left out "
    "or told twice, however many processes write.",
)
def export_events(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    kind: str,
    client_id: str,
    since: datetime | None,
    until: datetime | None,
    form: str,
    personal: bool,
    after: int,
    sealed: bool,
) -> None:
    """Write events to standard output, for other systems."""
    from registrar.cli import operating
    from registrar.service import checkpoints, security_events

    del as_json

    async def act(desk: operating.Desk) -> None:
        query = _query(desk, kind, client_id)
        if not sealed:
            await write(desk, _events(desk, query, since, until, after))
            return
        latest, between = await checkpoints.latest(desk.registry), _between(since, until)
        size = max(latest.checkpoint.size if latest else 0, after)
        await write(desk, (one async for one in _sealed(desk, query, after, size) if between(one)))
        click.echo(f"up to place {size} of the log; --sealed --after {size} goes on from there", err=True)

    async def write(desk: operating.Desk, found: AsyncIterator[StoredEvent]) -> None:
        if form == "set":
            _signs(desk)
            await checkpoints.ensure_key(desk.registry)
            async for one in found:
                click.echo(await security_events.token(desk.registry, one))
            return
        table = csv.writer(sys.stdout, lineterminator="\n")
        if form == "csv":
            table.writerow(["sequence", "time", "kind", "issuer", "client_id", "body"])
        async for one in found:
            event = one.event
            named = {"names": json.loads(event.personal)} if personal and event.personal else {}
            if form == "csv":
                moment = datetime.fromtimestamp(event.time_ms / 1000, UTC).isoformat()
                text = event.body.decode() if not named else json.dumps({**json.loads(event.body), **named})
                table.writerow([one.sequence, moment, event.kind, event.issuer, event.client_id, text])
            else:
                place = {"writer": one.writer, "batch": one.batch, "position": one.position}
                click.echo(json.dumps({"sequence": one.sequence, **place, "event": json.loads(event.body), **named}))

    operating.run(configured(config, dev=dev), issuer, act)


@audit.command("verify")
@common
@click.option(
    "--checkpoint",
    "kept",
    type=click.File("rb"),
    multiple=True,
    help="A checkpoint that was kept elsewhere; may be given several times.",
)
@click.option("--keys", type=click.File("rb"), help="The public keys of the audit, as they were kept elsewhere.")
def verify_events(
    config: Path | None, dev: bool, issuer: str, as_json: bool, kept: tuple[IO[bytes], ...], keys: IO[bytes] | None
) -> None:
    """Verify every event, every link and every checkpoint. Exit status 1 where something is not as it was written."""
    from registrar.cli import operating
    from registrar.domain.jws import Malformed
    from registrar.service import verification

    try:
        checkpoints = [_checkpoint(one.read()) for one in kept]
        trusted = verification.key_set(keys.read()) if keys else None
    except Malformed as problem:
        raise click.UsageError(f"what was kept cannot be read: {problem}") from None

    async def act(desk: operating.Desk) -> None:
        with measuring("events", quiet=as_json) as told:
            report = await verification.verify(desk.registry, kept=checkpoints, keys=trusted, told=told)
        if as_json:
            Output(as_json=True).dump({"sound": report.sound, **operating.built(report)})
        else:
            _tell(report)
        if not report.sound:
            raise click.exceptions.Exit(1)

    operating.run(configured(config, dev=dev), issuer, act)


def _checkpoint(body: bytes) -> Signed:
    """A checkpoint by itself, or in the document in which it is published.

    Raises:
        Malformed: it is none.
    """
    from registrar.domain import checkpoint

    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if isinstance(found, dict) and "checkpoint" in found:
        body = json.dumps(found["checkpoint"]).encode()
    return checkpoint.read(body)


def _tell(report: Any) -> None:
    click.echo(
        f"{report.events} events in {report.batches} batches of {report.writers} writers, {report.checkpoints} checkpoints"
    )
    if report.pruned:
        click.echo(f"the events of {report.pruned} batches were taken away by the retention")
    if report.erased:
        click.echo(f"whom {report.erased} events name was erased")
    if report.unchained:
        click.echo(f"{report.unchained} events are from before there were chains, and prove nothing")
    if beyond := report.batches - report.placed:
        click.echo(f"{beyond} batches came after the last checkpoint, which their writers' chains alone hold together")
    for problem in report.problems:
        click.echo(printable(f"{problem.where}: {problem.what}"), err=True)
    if report.more:
        click.echo(f"and {report.more} more", err=True)
    click.echo("everything is as it was written" if report.sound else "NOT everything is as it was written")


@audit.command("checkpoint")
@common
def checkpoint_command(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """Sign a checkpoint of everything that is written, and print it: to be kept where the registry cannot reach it."""
    from registrar.cli import operating
    from registrar.domain import checkpoint
    from registrar.service import checkpoints

    del as_json

    async def act(desk: operating.Desk) -> None:
        _signs(desk)
        made = await checkpoints.make(desk.registry)
        assert made is not None
        Output(as_json=True).dump(checkpoint.body(made), indent=None)

    operating.run(configured(config, dev=dev), issuer, act)


@audit.command("keys")
@common
@click.option("--rotate", is_flag=True, help="Make a new key first, which signs from now on; the old ones stay.")
def keys_command(config: Path | None, dev: bool, issuer: str, as_json: bool, rotate: bool) -> None:
    """Print the public keys of the audit, with which checkpoints, receipts and event tokens are verified."""
    from registrar.cli import operating
    from registrar.service import checkpoints

    del as_json

    async def act(desk: operating.Desk) -> None:
        _signs(desk)
        await checkpoints.ensure_key(desk.registry)
        if rotate:
            await checkpoints.rotate(desk.registry, desk.operator.actor(), desk.operator.door)
        Output(as_json=True).dump(await checkpoints.published(desk.registry))

    operating.run(configured(config, dev=dev), issuer, act)


def _signs(desk: operating.Desk) -> None:
    if not desk.registry.keys:
        raise Failure("signing needs a key-encryption key (server.key_file)")


@audit.command("cosign")
@click.argument("checkpoint_file", type=click.File("rb"))
@click.option("--key", "key_file", type=click.File("rb"), required=True, help="The witness's private key, a JWK.")
@click.option(
    "--earlier",
    type=click.File("rb"),
    help="The checkpoint that was signed last: this one is signed where its log is shown to have only grown since.",
)
@click.option("--keys", type=click.File("rb"), help="The public keys of the audit, with --earlier.")
def cosign(checkpoint_file: IO[bytes], key_file: IO[bytes], earlier: IO[bytes] | None, keys: IO[bytes] | None) -> None:
    """Put a witness's signature beside those of a checkpoint, and print it. Nothing of a registry is opened."""
    from joserfc import jws as library
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    from registrar.domain import checkpoint
    from registrar.domain.jws import Malformed

    if (earlier is None) != (keys is None):
        raise click.UsageError("--earlier and --keys go together")
    document = checkpoint_file.read()
    if earlier is not None and keys is not None:
        _grown(earlier.read(), document, keys.read())
    try:
        held = _checkpoint(document)
        given = json.loads(key_file.read())
        algorithm = _WITNESS.get((given.get("kty"), given.get("crv"))) if isinstance(given, dict) else None
        if algorithm is None or "d" not in given:
            raise Failure("a witness signs with a private key, a JWK: Ed25519, P-256 or RSA")
        key = JWKRegistry.import_key(given)
        header = {"alg": algorithm, "kid": key.kid or str(key.thumbprint()), "typ": checkpoint.TYPE}
        compact = library.serialize_compact(header, checkpoint.payload(held), key, algorithms=[algorithm])
        both = checkpoint.signed(compact, held)
    except (Malformed, JoseError, ValueError, TypeError, KeyError) as problem:
        raise Failure(f"it cannot be signed: {problem}") from None
    Output(as_json=True).dump(checkpoint.body(both), indent=None)


_WITNESS: dict[Any, str] = {("OKP", "Ed25519"): "Ed25519", ("EC", "P-256"): "ES256", ("RSA", None): "PS256"}


@audit.command("witnessed")
@common
@click.argument("checkpoint_file", type=click.File("rb"))
def witnessed(config: Path | None, dev: bool, issuer: str, as_json: bool, checkpoint_file: IO[bytes]) -> None:
    """Take in a checkpoint that a witness has signed, to be published with that signature."""
    from registrar.cli import operating
    from registrar.domain.jws import Malformed
    from registrar.service import checkpoints
    from registrar.service.ports import Conflict

    try:
        signed = _checkpoint(checkpoint_file.read())
    except Malformed as problem:
        raise Failure(f"it is no checkpoint: {problem}") from None

    async def act(desk: operating.Desk) -> None:
        try:
            both = await checkpoints.cosigned(desk.registry, signed)
        except Malformed as problem:
            raise Failure(f"it is not taken in: {problem}") from None
        except Conflict:
            raise Failure(
                "it is no checkpoint of this registry, or another one was taken in at the same moment"
            ) from None
        Output(as_json).record({"signatures": len(both.signatures)}, "Taken in.")

    operating.run(configured(config, dev=dev), issuer, act)


@audit.command("consistency")
@common
@click.argument("earlier")
def consistency(config: Path | None, dev: bool, issuer: str, as_json: bool, earlier: str) -> None:
    """Print the proof that the log of the newest checkpoint begins with that of an EARLIER one: its file, or its size."""
    from registrar.cli import operating
    from registrar.domain import checkpoint
    from registrar.domain.jws import Malformed
    from registrar.service import receipts

    del as_json
    try:
        size = int(earlier) if earlier.isdecimal() else _checkpoint(Path(earlier).read_bytes()).checkpoint.size
    except (OSError, Malformed, ValueError) as problem:
        raise click.UsageError(f"{earlier} is neither a size nor a checkpoint: {problem}") from None

    async def act(desk: operating.Desk) -> None:
        try:
            grown = await receipts.consistency(desk.registry, size)
        except IndexError:
            raise Failure(f"no checkpoint covers {size} batches") from None
        members = {"size": size, "proof": list(grown.proof), "checkpoint": checkpoint.body(grown.checkpoint)}
        Output(as_json=True).dump(members)

    operating.run(configured(config, dev=dev), issuer, act)


@audit.command("verify-consistency")
@click.argument("earlier", type=click.File("rb"))
@click.argument("proof_file", type=click.File("rb"))
@click.option("--keys", type=click.File("rb"), required=True, help="The public keys of the audit.")
def verify_consistency(earlier: IO[bytes], proof_file: IO[bytes], keys: IO[bytes]) -> None:
    """Verify that nothing which an EARLIER checkpoint covers was changed since, by what `consistency` printed."""
    before, after = _grown(earlier.read(), proof_file.read(), keys.read())
    click.echo(f"the log of {after} batches begins with that of {before}")


def _grown(earlier: bytes, proof: bytes, keys: bytes) -> tuple[int, int]:
    """The sizes of a log then and now, where it has only grown.

    Raises:
        Failure: it is another one, or that is not proved.
    """
    from registrar.domain import checkpoint, merkle
    from registrar.domain.jws import Malformed
    from registrar.service import verification

    try:
        old = _checkpoint(earlier)
        given = json.loads(proof)
        new = checkpoint.read(json.dumps(given["checkpoint"]).encode())
        path = [checkpoint.hashed(str(one)) for one in given["proof"]]
        trusted = verification.key_set(keys)
    except (Malformed, ValueError, KeyError, TypeError) as problem:
        raise click.UsageError(f"it cannot be read: {problem}") from None
    for name, one in (("the earlier checkpoint", old), ("the newer checkpoint", new)):
        if not checkpoint.signers(one, trusted):
            raise Failure(f"no key that was given has signed {name}")
    before, after = old.checkpoint, new.checkpoint
    grown = merkle.extends(before.size, checkpoint.hashed(before.root), after.size, checkpoint.hashed(after.root), path)
    if before.log != after.log or not grown:
        raise Failure("the newer log does not begin with the earlier one")
    return before.size, after.size


@audit.command("verify-receipt")
@click.argument("receipt_file", type=click.File("rb"))
@click.option("--keys", type=click.File("rb"), required=True, help="The public keys of the audit, and of witnesses.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def verify_receipt(receipt_file: IO[bytes], keys: IO[bytes], as_json: bool) -> None:
    """Verify a receipt of a registration with nothing but public keys, and print what it says."""
    from registrar.domain.jws import Malformed, Refused
    from registrar.service import receipts, verification

    try:
        trusted = verification.key_set(keys.read())
    except Malformed as problem:
        raise click.UsageError(f"the keys cannot be read: {problem}") from None
    try:
        verified = receipts.verify(receipt_file.read().decode("ascii", "replace").strip(), trusted)
    except (Malformed, Refused) as problem:
        raise Failure(f"the receipt is not to be believed: {problem}") from None
    claims = {name: value for name, value in verified.claims.items() if name != "proof"}
    claims["proved"] = (
        f"in the log of {verified.proof.checkpoint.checkpoint.size} batches, signed by {', '.join(verified.witnesses)}"
        if verified.proof
        else "not yet: no checkpoint covered the event when the receipt was issued"
    )
    Output(as_json).record(claims, "The signature is right.")


@audit.command("redact")
@common
@click.option("--client", "client_id", default="", help="Of events of this client.")
@click.option("--person", default="", help="Of events that name this account or address.")
@click.option("--before", "until", type=click.DateTime(), help="Of events before this time (UTC).")
def redact(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    client_id: str,
    person: str,
    until: datetime | None,
) -> None:
    """Erase whom events name. The events, their commitments and their chain stay; it cannot be taken back."""
    from registrar.cli import operating
    from registrar.service import retention
    from registrar.service.ports import EventQuery

    if not (client_id or person or until):
        raise click.UsageError("say of what: --client, --person or --before")

    async def act(desk: operating.Desk) -> None:
        before = int(until.replace(tzinfo=UTC).timestamp()) if until else 0
        # A person is forgotten everywhere, unless an issuer was named.
        name = desk.asked or None if person else desk.issuer.name
        query = EventQuery(name, client_id=client_id or None)
        actor, door = desk.operator.actor(), desk.operator.door
        count = await retention.redact(desk.registry, actor, door, query, before=before, person=person)
        Output(as_json).record({"events": count}, "Erased.")

    operating.run(configured(config, dev=dev), issuer, act)


@audit.command("prune")
@common
@click.option("--before", "until", type=click.DateTime(), required=True, help="Events before this time (UTC).")
def prune(config: Path | None, dev: bool, issuer: str, as_json: bool, until: datetime) -> None:
    """Take away old events that a checkpoint covers, of all issuers. What is left verifies as before."""
    from registrar.cli import operating
    from registrar.service import retention

    async def act(desk: operating.Desk) -> None:
        before = int(until.replace(tzinfo=UTC).timestamp())
        actor, door = desk.operator.actor(), desk.operator.door
        _signs(desk)
        count = await retention.prune(desk.registry, before, actor=actor, endpoint=door)
        Output(as_json).record({"events": count}, "Taken away.")

    operating.run(configured(config, dev=dev), issuer, act)
