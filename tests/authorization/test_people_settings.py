"""The settings about people and the upstream provider: what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from registrar.config import ConfigurationError, parse
from registrar.policy.document import Document
from registrar.testing import OPEN


def refused(more: str) -> str:
    """Why a configuration is not taken."""
    with pytest.raises(ConfigurationError) as problem:
        parse(Document("test.toml", OPEN + more))
    return str(problem.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[issuer.main.people]\nsession_idle = 0", "more than 0"),
        ("[issuer.main.people]\nsign_up = 1", "true or false"),
        ('[issuer.main.upstream]\nissuer = "http://login.example"\nclient_id = "r"', "https"),
        ('[issuer.main.upstream]\nissuer = "https://login.example?x"\nclient_id = "r"', "no query"),
        ('[issuer.main.upstream]\nissuer = "https://login.example"', "client_id"),
        ('[issuer.main.upstream]\nissuer = "https://login.example"\nclient_id = "r"\nscopes = ["email"]', "openid"),
        (
            '[issuer.main.upstream]\nissuer = "https://login.example"\nclient_id = "r"\nclient_secret_file = "/nowhere"',
            "cannot be read",
        ),
        ('[issuer.main.scopes]\ndescriptions = "x"', "a table"),
        ('[issuer.other]\nurl = "http://127.0.0.1:8000/o"\nterms_page = "javascript:alert(1)"', "URL of a page"),
        ("[issuer.main.scopes]\ndescriptions = { a = 1 }", "a string"),
        ('[issuer.main.registration]\npath = "/consent"', "another endpoint"),
    ],
)
def test_what_could_not_work_is_refused(more: str, said: str) -> None:
    """The message names the setting's fault."""
    text = OPEN.replace('[issuer.main.registration]\nmode = "open"', "") if "registration" in more else OPEN
    with pytest.raises(ConfigurationError, match=said):
        parse(Document("test.toml", text + more))


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """As with the key file."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    more = f'[issuer.main.upstream]\nissuer = "https://login.example"\nclient_id = "r"\nclient_secret_file = "{secret}"'
    assert "chmod 600" in refused(more)
    secret.chmod(0o600)
    taken = parse(Document("test.toml", OPEN + more)).settings.issuer["main"].upstream
    assert taken.client_secret_file == str(secret)


def test_five_lines_are_enough() -> None:
    """An issuer identifier may end in a slash, as some providers' do."""
    more = '[issuer.main.upstream]\nissuer = "https://tenant.example/"\nclient_id = "registrar"\nname = "Tenant"'
    assert (
        parse(Document("test.toml", OPEN + more)).settings.issuer["main"].upstream.issuer == "https://tenant.example/"
    )
