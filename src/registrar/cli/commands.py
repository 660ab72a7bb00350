"""The first commands of a newcomer, and the options that all share. Each imports what it alone needs, so that all start fast."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from registrar import __version__
from registrar.cli.metadata import client_metadata, described
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
    """Lists its commands in the order in which they were defined, not of the alphabet."""

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
@described
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
    metadata: IO[bytes] | None,
    token: str | None,
    token_file: IO[str] | None,
    store: Path | None,
    key: str,
    reuse: bool,
    show_secret: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Register a client at the issuer URL, and keep its credentials for this user alone."""
    from registrar.cli import registering

    wish = registering.Wish(
        issuer=url,
        metadata=client_metadata(metadata, said),
        token=registering.initial_access_token(token, token_file),
        folder=store or Path(click.get_app_dir("registrar")) / "credentials",
        key=key,
        reuse=reuse,
        show_secret=show_secret,
    )
    registering.register(wish, Output(as_json))
