"""The commands, in the order in which a newcomer meets them. Each imports what it alone needs, so that all start fast."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from registrar import __version__
from registrar.cli.render import Failure, Output

if TYPE_CHECKING:
    from registrar.config import Configuration

_FILE = click.Path(dir_okay=False, path_type=Path)
_DEFAULT_FILE = Path("registrar.toml")


def configured(config: Path | None, *, dev: bool = False, port: int | None = None) -> Configuration:
    """The configuration that a command runs with: the named file, `registrar.toml` here, `--dev`, or a closed server.

    Environment variables count more than any of these, and `--port` more than they.
    """
    import os
    from dataclasses import replace

    from registrar import config as configuration
    from registrar.policy.document import ConfigurationError

    try:
        if dev:
            if config is not None:
                raise click.UsageError("--dev is a configuration of its own; leave --config out")
            read = configuration.development(8000 if port is None else port, environment=os.environ)
        elif path := config or (_DEFAULT_FILE if _DEFAULT_FILE.exists() else None):
            read = configuration.read(path, os.environ)
        else:
            read = configuration.closed(8000 if port is None else port, os.environ)
    except ConfigurationError as problem:
        raise Failure(str(problem)) from None
    if port is None:
        return read
    return replace(read, settings=replace(read.settings, server=replace(read.settings.server, port=port)))


def common(command: Any) -> Any:
    """The options of every command that opens the registry."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)
    command = click.option("--issuer", default="", help="The issuer's name; needed where there are several.")(command)
    command = click.option("--dev", is_flag=True, help="The registry of `serve --dev` in this folder.")(command)
    return click.option("--config", type=_FILE, help="The configuration file (registrar.toml here, if it exists).")(
        command
    )


class _InOrder(click.Group):
    """Lists its commands in the order of this module, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands as they were defined."""
        del ctx
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="registrar")
def main() -> None:
    """The registration authority for OAuth clients."""


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write registrar.toml and a key file into FOLDER, as a starting point."""
    from registrar.cli.starter import write

    for path in write(folder):
        click.echo(f"wrote {path}")


@main.command()
@click.option("--config", type=_FILE, help="The configuration file (registrar.toml here, if it exists).")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, instead of the configured one.")
@click.option("--dev", is_flag=True, help="A loopback server that lets everybody on this machine register.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that share the port and the database.",
)
def serve(config: Path | None, port: int | None, dev: bool, workers: int) -> None:
    """Serve registration, management and discovery."""
    from registrar.cli.serving import run

    run(configured(config, dev=dev, port=port), workers)


@main.command()
@click.argument("url", required=False)
@click.option("--token", help="An initial access token for the server at URL.")
@click.option("--token-file", type=click.File("r"), help="A file with it; or set REGISTRAR_INITIAL_ACCESS_TOKEN.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a step.")
def demo(url: str | None, token: str | None, token_file: IO[str] | None, as_json: bool) -> None:
    """Play the life of a client, step by step, and check that each step behaves as explained.

    At the issuer URL, or without one at a server of its own, which is started for it in a temporary folder.
    """
    from registrar.cli import demonstration
    from registrar.cli.registering import initial_access_token

    if url is None:
        if token or token_file:
            raise click.UsageError("a token is for the server at a URL, and there is none")
        demonstration.play_at_own_server(Output(as_json))
    else:
        demonstration.play(url, initial_access_token(token, token_file), Output(as_json))


@main.command()
@click.argument("url")
@click.option("--name", help="client_name: what people are shown.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="A redirect URI; may be repeated.")
@click.option("--grant-type", "grant_types", multiple=True, help="A grant type; may be repeated.")
@click.option("--scope", help="The scopes, separated by spaces.")
@click.option("--auth-method", help="token_endpoint_auth_method: none for a public client.")
@click.option("--metadata", type=click.File("rb"), help="A JSON object of further members; - is standard input.")
@click.option("--token", help="The initial access token; see also --token-file, which leaves no trace in a history.")
@click.option(
    "--token-file",
    type=click.File("r"),
    help="A file with the initial access token; without it, REGISTRAR_INITIAL_ACCESS_TOKEN is read.",
)
@click.option(
    "--store", type=click.Path(file_okay=False, path_type=Path), help="The folder in which credentials are kept."
)
@click.option("--key", default="default", show_default=True, help="Which of your clients this is, in that folder.")
@click.option("--reuse/--new", default=True, help="Take what is stored (the default), or register in its place.")
@click.option("--show-secret", is_flag=True, help="Print the credentials too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, credentials included.")
def register(
    url: str,
    name: str | None,
    redirect_uris: tuple[str, ...],
    grant_types: tuple[str, ...],
    scope: str | None,
    auth_method: str | None,
    metadata: IO[bytes] | None,
    token: str | None,
    token_file: IO[str] | None,
    store: Path | None,
    key: str,
    reuse: bool,
    show_secret: bool,
    as_json: bool,
) -> None:
    """Register a client at the issuer URL, and keep its credentials for this user alone."""
    from registrar.cli import registering

    options = {
        "client_name": name,
        "redirect_uris": list(redirect_uris),
        "grant_types": list(grant_types),
        "scope": scope,
        "token_endpoint_auth_method": auth_method,
    }
    wish = registering.Wish(
        issuer=url,
        metadata=registering.client_metadata(metadata, options),
        token=registering.initial_access_token(token, token_file),
        folder=store or Path(click.get_app_dir("registrar")) / "credentials",
        key=key,
        reuse=reuse,
        show_secret=show_secret,
    )
    registering.register(wish, Output(as_json))


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


@main.group()
def client() -> None:
    """Clients: create them, look at them, suspend, resume, delete, rotate their secrets."""


@client.command("create")
@common
@click.option("--name", help="client_name: what people are shown.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="A redirect URI; may be repeated.")
@click.option("--grant-type", "grant_types", multiple=True, help="A grant type; may be repeated.")
@click.option("--scope", help="The scopes, separated by spaces; dcr for a client that earns tokens to register with.")
@click.option("--auth-method", help="token_endpoint_auth_method: none for a public client.")
@click.option("--metadata", type=click.File("rb"), help="A JSON object of further members; - is standard input.")
def create_client(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    name: str | None,
    redirect_uris: tuple[str, ...],
    grant_types: tuple[str, ...],
    scope: str | None,
    auth_method: str | None,
    metadata: IO[bytes] | None,
) -> None:
    """Register a client by the operator's own word, and print its credentials, this once."""
    from registrar.cli import operating, registering

    options = {
        "client_name": name,
        "redirect_uris": list(redirect_uris),
        "grant_types": list(grant_types),
        "scope": scope,
        "token_endpoint_auth_method": auth_method,
    }

    async def act(desk: operating.Desk) -> None:
        made = await operating.create_client(desk, registering.client_metadata(metadata, options))
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


@main.group()
def user() -> None:
    """People with an account here: add them, list them, disable them, set their passwords."""


def _password(file: IO[str] | None) -> str:
    """A new password: the first line of a file, or typed twice. Never an option, which others on this machine can see."""
    if file is not None:
        return file.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def _password_file(command: Any) -> Any:
    meaning = "A file with the password in its first line; - is standard input."
    return click.option("--password-file", type=click.File("r"), help=meaning)(command)


@user.command("add")
@common
@click.argument("username")
@click.option("--name", default="", help="What to call them.")
@click.option("--email", default="", help="Their e-mail address.")
@_password_file
def add_user(
    config: Path | None,
    dev: bool,
    issuer: str,
    as_json: bool,
    username: str,
    name: str,
    email: str,
    password_file: IO[str] | None,
) -> None:
    """Make an account for somebody who signs in with USERNAME and a password."""
    from registrar.cli import operating

    password = _password(password_file)

    async def act(desk: operating.Desk) -> None:
        person = await operating.add_person(desk, username, password, name=name, email=email)
        Output(as_json).record(operating.person_row(person), "Added.")

    operating.run(configured(config, dev=dev), issuer, act)


@user.command("list")
@common
def list_users(config: Path | None, dev: bool, issuer: str, as_json: bool) -> None:
    """List the people who have an account."""
    from registrar.cli import operating

    async def act(desk: operating.Desk) -> None:
        rows = [operating.person_row(one) async for one in operating.people(desk)]
        Output(as_json).table(rows, ("subject", "username", "name", "email", "upstream", "status", "created_at"))

    operating.run(configured(config, dev=dev), issuer, act)


def _access_command(name: str, done: str, meaning: str) -> None:
    @user.command(name, help=meaning)
    @common
    @click.argument("who", metavar="USERNAME|SUBJECT")
    def change(config: Path | None, dev: bool, issuer: str, as_json: bool, who: str) -> None:
        from registrar.cli import operating

        async def act(desk: operating.Desk) -> None:
            person = await operating.change_access(desk, who, disabled=name == "disable")
            Output(as_json).record(operating.person_row(person), done)

        operating.run(configured(config, dev=dev), issuer, act)


_access_command(
    "disable", "Disabled.", "Disable an account: sessions and everything that applications have of it end at once."
)
_access_command("enable", "Enabled.", "Enable a disabled account.")


@user.command("passwd")
@common
@click.argument("who", metavar="USERNAME|SUBJECT")
@_password_file
def set_password(
    config: Path | None, dev: bool, issuer: str, as_json: bool, who: str, password_file: IO[str] | None
) -> None:
    """Give somebody another password; their sessions end."""
    from registrar.cli import operating

    password = _password(password_file)

    async def act(desk: operating.Desk) -> None:
        person = await operating.set_password(desk, who, password)
        Output(as_json).record(operating.person_row(person), "The password is set.")

    operating.run(configured(config, dev=dev), issuer, act)
