"""What every command that opens the registry has in common: which registry, which issuer, and what stands in the way."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import apsw
import pytest

if TYPE_CHECKING:
    from conftest import Desk

SECOND = '\n[issuer.second]\nurl = "http://127.0.0.1:8000/second"\n'
COMMANDS = (
    ["token", "issue"],
    ["token", "list"],
    ["token", "revoke", "x"],
    ["client", "list"],
    ["client", "show", "x"],
    ["client", "suspend", "x"],
    ["client", "resume", "x"],
    ["client", "delete", "x"],
    ["client", "rotate-secret", "x"],
    ["webhook", "list"],
    ["webhook", "show", "x"],
    ["webhook", "dead", "x"],
    ["webhook", "replay", "x", "--given-up"],
    ["webhook", "test", "x"],
    ["webhook", "enable", "x"],
    ["user", "add", "x", "--password-file", "/dev/null"],
    ["user", "list"],
    ["user", "disable", "x"],
    ["user", "enable", "x"],
    ["user", "passwd", "x", "--password-file", "/dev/null"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_same_options(desk: Desk, command: list[str]) -> None:
    """Each takes the same four options: the file, the development registry, the issuer, and JSON."""
    printed = desk.done(*command, "--help")

    for option in ("--config FILE", "--dev", "--issuer TEXT", "--json"):
        assert option in printed


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_unknown_issuer(desk: Desk, command: list[str]) -> None:
    """An issuer that is not configured is told with those that are."""
    assert desk.refused(*command, "--issuer", "other") == "there is no issuer other; these are: main"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_several_issuers(desk: Desk, command: list[str]) -> None:
    """Among several issuers none is guessed."""
    desk.configuration.write_text(desk.configuration.read_text("utf-8") + SECOND, "utf-8")

    assert desk.refused(*command) == "there are several issuers; choose one with --issuer: main, second"


def test_issuers_are_apart(desk: Desk) -> None:
    """A token of one issuer is neither listed nor revoked at another."""
    desk.configuration.write_text(desk.configuration.read_text("utf-8") + SECOND, "utf-8")
    token_id = desk.told("token", "issue", "--issuer", "second")["token_id"]

    assert desk.told("token", "list", "--issuer", "main") == []
    assert desk.told("token", "list", "--issuer", "second")[0]["issuer"] == "second"
    assert "there is no initial access token" in desk.refused("token", "revoke", token_id, "--issuer", "main")


def test_configuration_that_is_named(desk: Desk) -> None:
    """A named file counts, whatever lies in the working directory."""
    desk.configuration.rename(desk.folder / "other.toml")
    desk.configuration.write_text("broken", "utf-8")

    assert desk.told("client", "list", "--config", "other.toml") == []


def test_configuration_that_is_missing(desk: Desk) -> None:
    """A named file that is not there is told; it is never replaced by a default."""
    assert "nowhere.toml" in desk.refused("client", "list", "--config", "nowhere.toml")


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("port = 8000", 'port = "8000"', 5, "needs a whole number"),
        ("port = 8000", "prot = 8000", 5, "unknown setting prot"),
        ('mode = "client"', 'mode = "everybody"', 13, '"disabled", "open", "client", "user"'),
        ('policy = "default"', 'policy = "nothing"', 14, "there is no policy nothing"),
        ('url = "http://127.0.0.1:8000"', 'url = "http://as.example.com"', 10, "https, except on loopback"),
    ],
)
@pytest.mark.parametrize("command", [["client", "list"], ["token", "list"], ["serve"]], ids=" ".join)
def test_configuration_errors(desk: Desk, command: list[str], old: str, new: str, line: int, reason: str) -> None:
    """A mistake in the configuration is told with file and line, before anything is opened."""
    desk.configure((old, new))
    told = desk.refused(*command)

    assert told.startswith(f"registrar.toml:{line}: ")
    assert reason in told
    assert not (desk.folder / "var").exists()


def test_development_registry(desk: Desk) -> None:
    """`--dev` is the registry of `serve --dev` in this folder, which has another key file than the configured one."""
    assert desk.told("client", "list", "--dev") == []
    assert stat.S_IMODE((desk.folder / "var/registrar.key").stat().st_mode) == 0o600
    assert "--dev is a configuration of its own" in desk.misused(
        "client", "list", "--dev", "--config", "registrar.toml"
    )


def test_no_configuration(desk: Desk) -> None:
    """Without a file the registry of this folder is opened, with registration disabled."""
    desk.configuration.unlink()

    assert desk.told("client", "list") == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_key_file_that_others_can_read(desk: Desk, command: list[str]) -> None:
    """Nothing is done with keys that are not this user's alone."""
    (desk.folder / "registrar.key").chmod(0o644)

    assert desk.refused(*command) == "registrar.key: the key file can be read by others; chmod 600"


def test_key_file_that_is_missing(desk: Desk) -> None:
    """A configured key file that is gone is never replaced: what it has wrapped would be lost unnoticed."""
    (desk.folder / "registrar.key").unlink()

    assert "there is no key file" in desk.refused("client", "list")
    assert not (desk.folder / "registrar.key").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_database_of_a_newer_program(desk: Desk, command: list[str]) -> None:
    """A schema that is not known is left alone."""
    desk.issue()
    with apsw.Connection("var/registrar.db") as database:
        database.pragma("user_version", 1000)
    database.close()

    assert "has schema 1000" in desk.refused(*command)


def test_what_is_no_database(desk: Desk) -> None:
    """Some other file in the place of the database is told, and stays as it is."""
    (desk.folder / "var").mkdir()
    (desk.folder / "var/registrar.db").write_bytes(b"something else " * 1000)

    assert "var/registrar.db" in desk.refused("client", "list")
    assert (desk.folder / "var/registrar.db").read_bytes() == b"something else " * 1000


def test_folder_that_cannot_be_made(desk: Desk) -> None:
    """A file in the place of the database's folder is told."""
    (desk.folder / "var").write_text("not a folder")

    assert "var" in desk.refused("client", "list")
    assert "var" in desk.refused("client", "list", "--dev")


def test_order_of_the_commands(desk: Desk) -> None:
    """Help lists the commands in the order in which a newcomer meets them."""
    listed = desk.done("--help").partition("Commands:\n")[2]

    names = [line.split()[0] for line in listed.splitlines()]
    assert names == [
        *["init", "serve", "demo", "register", "token", "client", "keys", "user", "audit", "key-file"],
        *["policy", "review", "statement", "document", "template", "migrate", "sweep", "copy", "webhook"],
    ]
