"""Settings from environment variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as some

from registrar.config import ConfigurationError, closed, development, read
from registrar.config.environment import variable
from registrar.domain.settings import Mode

FILE: Final = """
[server]
port = 9000
trusted_proxies = ["10.0.0.1"]
[issuer.main]
url = "https://as.example"
[issuer.main.registration]
mode = "client"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "registrar.toml"
    path.write_text(FILE, "utf-8")
    return path


def test_a_variable_counts_more_than_the_file(file: Path) -> None:
    """And what it does not say stays as it is written."""
    settings = read(file, {"REGISTRAR_SERVER__PORT": "8080", "REGISTRAR_ISSUER__MAIN__ADMIN_API": "true"}).settings

    assert (settings.server.port, settings.server.trusted_proxies) == (8080, ("10.0.0.1",))
    assert settings.issuer["main"].admin_api
    assert settings.issuer["main"].registration.mode == (Mode.CLIENT,)


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("SERVER__DATABASE", "memory:", "server.database", "memory:"),
        ("SERVER__BODY_SECONDS", "2", "server.body_seconds", 2.0),
        ("SERVER__FETCH__ALLOW", '["https://a.example", "https://b.example"]', "server.fetch.allow",
         ("https://a.example", "https://b.example")),
        ("SERVER__METRICS__PORT", "9464", "server.metrics.port", 9464),
        ("ISSUER__MAIN__REGISTRATION__MODE", "open", "issuer.main.registration.mode", (Mode.OPEN,)),
        ("ISSUER__MAIN__REGISTRATION__MODE", '["client", "user"]', "issuer.main.registration.mode",
         (Mode.CLIENT, Mode.USER)),
        ("ISSUER__MAIN__REGISTRATION_ACCESS_TOKEN__ROTATE", "read", "issuer.main.registration_access_token.rotate",
         "read"),
        ("ISSUER__MAIN__SCOPES__DESCRIPTIONS", '{ profile = "who you are" }', "issuer.main.scopes.descriptions",
         {"profile": "who you are"}),
        ("ISSUER__MAIN__SCOPES__DESCRIPTIONS__PROFILE", "who you are", "issuer.main.scopes.descriptions",
         {"profile": "who you are"}),
        ("ISSUER__MAIN__DOCUMENTATION", "https://docs.example/true", "issuer.main.documentation",
         "https://docs.example/true"),
    ],
)  # fmt: skip
def test_values_have_the_type_of_their_setting(file: Path, name: str, text: str, path: str, value: Any) -> None:
    """Text as it is, the rest as in TOML."""
    found: Any = read(file, {f"REGISTRAR_{name}": text}).settings
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)

    assert found == value


def test_no_file_is_needed() -> None:
    """An issuer that a variable names is the only one."""
    environment = {
        "REGISTRAR_SERVER__DATABASE": "memory:",
        "REGISTRAR_ISSUER__SHOP__URL": "http://127.0.0.1:8000",
        "REGISTRAR_ISSUER__SHOP__REGISTRATION__MODE": "open",
    }

    assert [*closed(8000, environment).settings.issuer] == ["shop"]
    assert [*closed(8000, {"REGISTRAR_SERVER__DATABASE": "memory:"}).settings.issuer] == ["main"]
    assert development(environment={"REGISTRAR_SERVER__DATABASE": "memory:"}).settings.server.database == "memory:"


def test_a_value_may_come_from_a_file(file: Path, tmp_path: Path) -> None:
    """As secrets do; one line break at its end belongs to the file."""
    secret = tmp_path / "database"
    secret.write_text("postgresql://user:s%20ecret@db/registry\n", "utf-8")
    keys = tmp_path / "registrar.key"
    environment = {"REGISTRAR_SERVER__DATABASE_FILE": str(secret), "REGISTRAR_SERVER__KEY_FILE": str(keys)}
    server = read(file, environment).settings.server

    assert server.database == "postgresql://user:s%20ecret@db/registry"
    assert server.key_file == str(keys), "a setting whose own name ends so is itself"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"REGISTRAR_SERVER__PROT": "1"}, "REGISTRAR_SERVER__PROT: is no setting; known are"),
        ({"REGISTRAR_SERVER_PORT": "1"}, "two underscores stand between the parts"),
        ({"REGISTRAR_DATABASE": "memory:"}, "known are REGISTRAR_ISSUER, REGISTRAR_SERVER"),
        ({"REGISTRAR_": "x"}, "is no setting"),
        ({"REGISTRAR_SERVER__": "x"}, "is no setting"),
        ({"REGISTRAR_ISSUER__": "x"}, "the name is missing"),
        ({"REGISTRAR_SERVER__PORT__MORE": "x"}, "REGISTRAR_SERVER__PORT is a setting, and there is nothing within it"),
        ({"REGISTRAR_POLICY__MINE__EXTENDS": "[]"}, "policies, classes and rules are written in a file"),
        ({"REGISTRAR_SERVER__PORT": "eighty"}, "needs a whole number"),
        ({"REGISTRAR_SERVER__PORT": '"8000"'}, "needs a whole number"),
        ({"REGISTRAR_SERVER__PORT": "8000\nhost = 1"}, "needs a whole number"),
        ({"REGISTRAR_SERVER__PORT": ""}, "needs a whole number"),
        ({"REGISTRAR_SERVER__PORT": "70000"}, "REGISTRAR_SERVER__PORT: is a port from 0 to 65535"),
        ({"REGISTRAR_SERVER__TRUSTED_PROXIES": "10.0.0.1"}, "needs a list as TOML has it"),
        ({"REGISTRAR_SERVER__TRUSTED_PROXIES": '["10.0.0.1", 2]'}, "REGISTRAR_SERVER__TRUSTED_PROXIES: needs a list"),
        ({"REGISTRAR_SERVER__METRICS": "{ port = 9464, hots = 1 }"}, "REGISTRAR_SERVER__METRICS: unknown setting hots"),
        ({"REGISTRAR_ISSUER__MAIN__ADMIN_API": "yes"}, "needs true or false"),
        ({"REGISTRAR_ISSUER__MAIN__NAME": "x"}, "is no setting"),
        ({"REGISTRAR_ISSUER__MAIN__REGISTRATION__MODE": "everybody"}, 'MODE: is "disabled"'),
        ({"REGISTRAR_ISSUER__OTHER__ADMIN_API": "true"}, "an issuer needs a url"),
        ({"REGISTRAR_SERVER__DATABASE_FILE": "/nowhere/at/all"}, "names a file that cannot be read"),
        ({"REGISTRAR_SERVER__DATABASE_FILE": "/dev/null", "REGISTRAR_SERVER__DATABASE": "memory:"}, "says again what"),
    ],
)  # fmt: skip
def test_what_is_no_setting_is_refused(file: Path, environment: dict[str, str], said: str) -> None:
    """By the name of the variable, with what would be accepted."""
    with pytest.raises(ConfigurationError) as refused:
        read(file, environment)

    assert said in str(refused.value)
    assert str(refused.value).startswith("the environment variable REGISTRAR_")


def test_a_value_is_never_repeated(file: Path) -> None:
    """It may be a secret that went to the wrong place."""
    for name in ("REGISTRAR_SERVER__PORT", "REGISTRAR_SERVER__DATABASE", "REGISTRAR_SERVER_DATABASE"):
        with pytest.raises(ConfigurationError) as refused:
            read(file, {name: "postgres//user:hunter2@db"})
        assert "hunter2" not in str(refused.value)


def test_what_is_not_ours_is_left_alone(file: Path) -> None:
    """The token of the command line, and what Kubernetes tells of services."""
    environment = {
        "REGISTRAR_INITIAL_ACCESS_TOKEN": "x",
        "REGISTRAR_SERVICE_HOST": "10.0.0.1",
        "REGISTRAR_SERVICE_PORT": "80",
        "REGISTRAR_SERVICE_PORT_HTTP": "80",
        "REGISTRAR_PORT": "tcp://10.0.0.1:80",
        "REGISTRAR_PORT_80_TCP": "tcp://10.0.0.1:80",
        "REGISTRAR_PORT_80_TCP_ADDR": "10.0.0.1",
        "REGISTRAR_SERVER_SERVICE_HOST": "10.0.0.1",
        "REGISTRAR_SERVER_PORT": "tcp://10.0.0.1:80",
        "PATH": "/bin",
    }

    assert read(file, environment) == read(file)


@given(some.text("ABPRSUEI_", max_size=20), some.text(max_size=20))
def test_any_variable_is_a_setting_or_refused(name: str, text: str) -> None:
    """Nothing else comes of it, whatever its name and its value are."""
    try:
        closed(8000, {f"REGISTRAR_{name}": text, "REGISTRAR_ISSUER__MAIN__URL": "http://localhost:1"})
    except ConfigurationError as refused:
        assert "environment variable" in str(refused)  # noqa: PT017 (either is right)


def test_variable_names() -> None:
    """As the reference writes them."""
    assert variable("issuer", "NAME", "registration", "mode") == "REGISTRAR_ISSUER__NAME__REGISTRATION__MODE"


def test_commands_read_them(tmp_path: Path) -> None:
    """Without any file, a command works on the registry that variables name."""
    environment = {
        **os.environ,
        "REGISTRAR_SERVER__DATABASE": "sqlite:///elsewhere.db",
        "REGISTRAR_ISSUER__SHOP__URL": "http://127.0.0.1:8000",
        "REGISTRAR_ISSUER__SHOP__REGISTRATION__MODE": "client",
    }
    command = [sys.executable, "-m", "registrar", "token", "issue", "--label", "x"]
    made = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (made.returncode, (tmp_path / "elsewhere.db").exists()) == (0, True), made.stderr

    wrong = {**environment, "REGISTRAR_SERVER__PROT": "1"}
    made = subprocess.run(command, cwd=tmp_path, env=wrong, capture_output=True, text=True, check=False)
    assert made.returncode == 1
    assert made.stderr.startswith("Error: the environment variable REGISTRAR_SERVER__PROT: is no setting")
