"""Client metadata as commands take it: options for the members that most clients have, and a file for all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

import click


def described(command: Any) -> Any:
    """The options that say what a client is to be; each is called as the member that it becomes, but for `metadata`."""
    options = (
        click.option("--name", "client_name", help="client_name: what people are shown."),
        click.option("--redirect-uri", "redirect_uris", multiple=True, help="A redirect URI; may be repeated."),
        click.option("--grant-type", "grant_types", multiple=True, help="A grant type; may be repeated."),
        click.option("--scope", help="The scopes, separated by spaces."),
        click.option(
            "--auth-method",
            "token_endpoint_auth_method",
            help="token_endpoint_auth_method: none for a public client.",
        ),
        click.option(
            "--metadata", type=click.File("rb"), help="A JSON object of further members; - is standard input."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def client_metadata(file: IO[bytes] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a JSON file, under those of the options that were given.

    Raises:
        UsageError: the file holds no JSON object.
    """
    given = {name: [*value] if isinstance(value, tuple) else value for name, value in options.items() if value}
    return members_of(file, "--metadata") | given if file else given


def members_of(file: IO[bytes], option: str) -> dict[str, Any]:
    """The members that a JSON file holds.

    Raises:
        UsageError: the file that the option names holds no JSON object.
    """
    try:
        members = json.loads(file.read())
    except (ValueError, RecursionError) as problem:
        raise click.UsageError(f"{option} is not JSON: {problem}") from None
    if not isinstance(members, dict):
        raise click.UsageError(f"{option} is not a JSON object of client metadata")
    return members
