"""`registrar user`: people with an account here."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click

from registrar.cli.commands import common, configured, main
from registrar.cli.render import Output


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
