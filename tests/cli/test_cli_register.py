"""`registrar register`."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Desk, Live, OddIssuer

ISSUED = {"client_id": "c1", "client_secret": "the-secret", "client_secret_expires_at": 0}
REDIRECT = ("--redirect-uri", "https://app.example/cb")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where the credentials of a test go."""
    return tmp_path / "credentials"


@pytest.mark.requirement("SEED-54", "R7591-C12")
def test_register(live: Live, store: Path) -> None:
    """Discovery, the endpoint, what was registered and where the credentials lie are told in order; no secret is."""
    printed = live.done("register", live.open_url, "--name", "Café", *REDIRECT, "--store", str(store))
    (file,) = store.iterdir()
    kept = json.loads(file.read_text("utf-8"))["members"]
    places = [
        printed.index(part)
        for part in (
            f"Discovery done at {live.open_url}",
            f"Registration endpoint: {live.open_url}/register",
            kept["client_id"],
            "Café",
            "Credentials:",
            str(file),
        )
    ]

    assert places == sorted(places)
    assert "otherwise" not in printed
    assert kept["client_secret"] not in printed
    assert kept["registration_access_token"] not in printed
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_show_secret(live: Live, store: Path) -> None:
    """With --show-secret the credentials are printed too."""
    printed = live.done("register", live.open_url, *REDIRECT, "--store", str(store), "--show-secret")
    kept = json.loads(next(store.iterdir()).read_text("utf-8"))["members"]

    assert kept["client_secret"] in printed
    assert kept["registration_access_token"] in printed


@pytest.mark.requirement("R7591-C6")
def test_json(live: Live, store: Path) -> None:
    """Programs get everything: the client with its credentials, the differences, and where it is kept."""
    told = live.told("register", live.open_url, *REDIRECT, "--scope", "openid nonsense", "--store", str(store))

    assert (told["issuer"], told["reused"]) == (live.open_url, False)
    assert told["registration_endpoint"] == f"{live.open_url}/register"
    assert len(told["client"]["client_secret"]) == 86
    assert told["differences"] == [{"member": "scope", "requested": "openid nonsense", "registered": "openid"}]
    assert told["notes"] == []
    assert Path(told["credentials"]).parent == store


@pytest.mark.requirement("R7591-C6")
def test_differences(live: Live, store: Path) -> None:
    """What was registered otherwise than asked for is told, with both values."""
    printed = live.done("register", live.open_url, *REDIRECT, "--scope", "openid nonsense", "--store", str(store))
    line = printed.partition("Registered otherwise than asked:\n")[2].splitlines()[1]

    assert line.split() == ["scope", "openid", "nonsense", "openid"]


def test_refusal(live: Live, store: Path) -> None:
    """A refusal lists every fault with member, rule, reason and what is accepted, whole even in a pipe."""
    arguments = ("register", live.open_url, "--redirect-uri", "javascript:x", "--auth-method", "pigeon")
    result = live.run(*arguments, "--store", str(store))
    header, *rows = result.stdout.partition("every fault that the server found:\n")[2].splitlines()

    assert result.exit_code == 1
    assert result.stderr == f"Error: {live.open_url} refused: invalid_redirect_uri\n"
    assert header.split() == ["member", "rule", "reason", "accepted"]
    assert [row.split()[:2] for row in rows] == [
        ["redirect_uris[0]", "redirect_uri.scheme"],
        ["token_endpoint_auth_method", "offered.value"],
    ]
    assert "pigeon" in rows[1]
    assert "self_signed_tls_client_auth" in rows[1]
    assert list(store.iterdir()) == []


def test_refusal_for_programs(live: Live, store: Path) -> None:
    """As JSON a refusal is what the server answered."""
    result = live.run("register", live.open_url, "--redirect-uri", "javascript:x", "--store", str(store), "--json")
    told = json.loads(result.stdout)

    assert result.exit_code == 1
    assert told["error"] == "invalid_redirect_uri"
    assert [(fault["member"], fault["rule"]) for fault in told["faults"]] == [
        ("redirect_uris[0]", "redirect_uri.scheme")
    ]
    assert isinstance(told["faults"][0]["accepted"], str)


@pytest.mark.requirement("R7591-C12")
def test_reuse(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """The second time nothing is sent; --new registers anew, and another key is another client."""
    numbers = iter(range(9))
    odd_issuer.answer = lambda sent: (201, {**sent, **ISSUED, "client_id": f"c{next(numbers)}"})
    arguments = ("register", odd_issuer.url, "--store", str(store))
    first = desk.told(*arguments)
    asked = len(odd_issuer.asked)
    second = desk.told(*arguments)

    assert (first["client"]["client_id"], first["reused"]) == ("c0", False)
    assert (second["client"]["client_id"], second["reused"]) == ("c0", True)
    assert len(odd_issuer.asked) == asked
    assert "nothing was sent. --new registers anew" in desk.done(*arguments, "--reuse")
    assert desk.told(*arguments, "--new")["client"]["client_id"] == "c1"
    assert desk.told(*arguments, "--key", "other")["client"]["client_id"] == "c2"
    assert desk.told(*arguments)["client"]["client_id"] == "c1"


def test_expired_secret(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """What is stored and no more of use is registered anew."""
    odd_issuer.answer = lambda sent: (201, {**sent, **ISSUED, "client_secret_expires_at": 1})
    arguments = ("register", odd_issuer.url, "--store", str(store))

    assert [desk.told(*arguments)["reused"] for _ in range(2)] == [False, False]


@pytest.mark.parametrize("way", ["option", "file", "stdin", "environment"])
def test_initial_access_token(live: Live, store: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The token comes from the option, a file, standard input or the environment, and is never printed."""
    token = live.issue("--issuer", "main")
    (store.parent / "token").write_text(f"{token}\n")
    options, settings = [], {}
    if way == "option":
        options = ["--token", token]
    elif way == "file":
        options = ["--token-file", str(store.parent / "token")]
    elif way == "stdin":
        options, settings = ["--token-file", "-"], {"input": token}
    else:
        monkeypatch.setenv("REGISTRAR_INITIAL_ACCESS_TOKEN", token)
    printed = live.done("register", live.url, *REDIRECT, "--store", str(store), *options, **settings)

    assert "Registered:" in printed
    assert token not in printed


def test_missing_token(live: Live, store: Path) -> None:
    """Where a token is needed, the line says how to give one; a bad one is told without being repeated."""
    arguments = ("register", live.url, *REDIRECT, "--store", str(store))
    missing, bad = live.run(*arguments), live.run(*arguments, "--token", "not-a-token")

    assert (missing.exit_code, bad.exit_code) == (1, 1)
    assert "401" in missing.stderr
    assert "--token-file or REGISTRAR_INITIAL_ACCESS_TOKEN" in missing.stderr
    assert "invalid_token" in bad.stderr
    assert "not-a-token" not in bad.output


def test_metadata(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """Members come from a file or standard input, and those of the options win."""
    odd_issuer.answer = lambda sent: (201, {**sent, **ISSUED})
    text = json.dumps({"client_name": "file", "software_id": "s", "redirect_uris": ["https://file.example/cb"]})
    (store.parent / "metadata.json").write_text(text)
    options = ("--name", "option", "--grant-type", "authorization_code", "--grant-type", "refresh_token")
    arguments = ("register", odd_issuer.url, "--new", "--store", str(store), *options, "--auth-method", "none")
    told = desk.told(*arguments, "--metadata", str(store.parent / "metadata.json"))
    piped = desk.told(*arguments, *REDIRECT, "--metadata", "-", input=text)

    assert told["client"]["client_name"] == "option"
    assert told["client"]["software_id"] == "s"
    assert told["client"]["grant_types"] == ["authorization_code", "refresh_token"]
    assert told["client"]["token_endpoint_auth_method"] == "none"
    assert told["client"]["redirect_uris"] == ["https://file.example/cb"]
    assert piped["client"]["redirect_uris"] == ["https://app.example/cb"]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"'])
def test_metadata_of_another_form(desk: Desk, text: str) -> None:
    """What is no JSON object is a mistake of usage, and nothing is asked of anybody."""
    assert "JSON" in desk.misused("register", "http://127.0.0.1:1", "--metadata", "-", input=text)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["http://as.example.com"],
        ["ftp://127.0.0.1"],
        ["https://as.example.com?x=1"],
        ["http://127.0.0.1:1", "--metadata", "nowhere.json"],
        ["http://127.0.0.1:1", "--token", "x", "--token-file", "registrar.toml"],
        ["http://127.0.0.1:1", "--token-file", "empty"],
    ],
)
def test_misuse(desk: Desk, store: Path, arguments: list[str]) -> None:
    """A missing or unusable issuer, a missing file, or two tokens are mistakes of usage."""
    (desk.folder / "empty").write_text("\n")

    assert desk.misused("register", *arguments, "--store", str(store)).startswith("Usage: registrar register")


def test_members_that_a_client_does_not_choose(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """What only a server issues is not sent."""
    result = desk.run(
        "register", odd_issuer.url, "--metadata", "-", "--store", str(store), input='{"client_id": "mine"}'
    )

    assert result.exit_code == 2
    assert "client_id" in result.stderr
    assert not any(line.startswith("POST") for line in odd_issuer.asked)


def test_nobody_there(desk: Desk, store: Path, odd_issuer: OddIssuer) -> None:
    """No answer, another issuer's metadata, or no registration endpoint is told in one line."""
    assert "ConnectError" in desk.refused("register", "http://127.0.0.1:1", "--store", str(store))
    assert "the metadata is that of" in desk.refused("register", f"{odd_issuer.url}/", "--store", str(store))


def test_other_refusals(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """A server that names no faults is quoted with its description."""
    odd_issuer.answer = lambda _: (400, {"error": "invalid_client_metadata", "error_description": "no idea"})
    result = desk.run("register", odd_issuer.url, "--store", str(store))

    assert result.exit_code == 1
    assert result.stderr == f"Error: {odd_issuer.url} refused: invalid_client_metadata: no idea\n"


def test_default_folder(odd_issuer: OddIssuer, desk: Desk, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --store the credentials go into the user's own configuration folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(store))
    odd_issuer.answer = lambda sent: (201, {**sent, **ISSUED})
    told = desk.told("register", odd_issuer.url)

    assert Path(told["credentials"]).parent == store / "registrar/credentials"
    assert stat.S_IMODE(Path(told["credentials"]).parent.stat().st_mode) == 0o700


def test_folder_of_others(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """A folder that others can read is not used, and nobody is asked for anything."""
    store.mkdir(mode=0o755)
    store.chmod(0o755)

    assert "open to other users" in desk.refused("register", odd_issuer.url, "--store", str(store))
    assert odd_issuer.asked == []


def test_credentials_that_cannot_be_kept(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """What was issued and cannot be stored is printed, for it exists nowhere else."""

    def answer(sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        shutil.rmtree(store)
        return 201, {**sent, **ISSUED}

    odd_issuer.answer = answer
    result = desk.run("register", odd_issuer.url, "--store", str(store))

    assert result.exit_code == 1
    assert "the-secret" in result.stdout
    assert "could not be kept" in result.stderr
    assert "the-secret" not in result.stderr


def test_text_of_strangers(odd_issuer: OddIssuer, desk: Desk, store: Path) -> None:
    """Nothing that an issuer answers steers the terminal: not in people's output, nor in JSON, nor in an error."""
    hostile = "a\x1b[2J\x9b2J\u202eb\r\nc\ud800"
    odd_issuer.answer = lambda sent: (201, {**sent, **ISSUED, "client_name": hostile, f"x{hostile}": [hostile]})
    arguments = ("register", odd_issuer.url, "--new", "--store", str(store), "--name", "asked")
    people, programs = desk.done(*arguments), desk.done(*arguments, "--json")
    odd_issuer.answer = lambda _: (
        400,
        {"error": hostile, "error_description": hostile, "faults": [{"member": hostile}]},
    )
    refused = desk.run(*arguments)

    assert json.loads(programs)["client"]["client_name"] == hostile
    for text in (people, programs, refused.stdout, refused.stderr):
        assert text.replace("\n", "").isprintable()
