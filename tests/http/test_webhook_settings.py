"""`[webhook.NAME]`: what is taken, and what is refused with its line and what would be taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from registering import configured

from registrar.config import ConfigurationError, assemble, parse
from registrar.policy.document import Document
from registrar.service.outbox import Outbox
from webhook_receiver import key_file


def table(folder: Path, **changed: str) -> str:
    """A webhook's table, with some of its lines changed or, where empty, left out."""
    lines = {"url": '"https://hook.example/in"', "secret_file": f'"{key_file(folder, os.urandom(32))}"'} | changed
    return "[webhook.gateway]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items() if value)


def refusal(text: str) -> str:
    """Why a configuration is not taken."""
    with pytest.raises(ConfigurationError) as problem:
        parse(Document("test", configured(tables=text)))
    return str(problem.value)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"url": ""}, "needs to be an https URL"),
        ({"url": '"http://hook.example/"'}, "server.fetch.allow"),
        ({"url": '"ftp://hook.example/"'}, "needs to be an https URL"),
        ({"url": '"https://"'}, "needs to be an https URL"),
        ({"url": '"https://hook.example/#a"'}, "without a fragment"),
        ({"url": '"https://user:word@hook.example/"'}, "user information"),
        ({"url": '"https://hook.example/ x"'}, "needs to be an https URL"),
        ({"secret_file": ""}, "needs secret_file"),
        ({"secret_file": '"/nowhere"'}, "cannot be read"),
        ({"events": '["clients.*"]'}, "no event is called clients.*"),
        ({"issuers": '["other"]'}, "there is no issuer other; these are: main"),
        ({"seconds": "0"}, "more than 0"),
        ({"at_once": "0"}, "more than 0"),
        ({"keep_given_up": "-1"}, "more than 0"),
        ({"kinds": '["client.read"]'}, "unknown setting kinds"),
        ({"name": '"other"'}, "unknown setting name"),
        ({"secret": '"whsec_x"'}, "unknown setting secret"),
    ],
)
def test_refused(tmp_path: Path, changed: dict[str, str], reason: str) -> None:
    """Each fault is told when the configuration is read, not when the first message is due."""
    assert reason in refusal(table(tmp_path, **changed))


def test_the_key_file_is_nobody_else_s(tmp_path: Path) -> None:
    """It is refused where others can read it, and where it holds no key, which is not repeated."""
    text = table(tmp_path)
    (tmp_path / "webhook.keys").chmod(0o640)
    assert "chmod 600" in refusal(text)
    (tmp_path / "webhook.keys").chmod(0o600)
    (tmp_path / "webhook.keys").write_text("whsec_c2hvcnQ=\n")
    assert "line 1 is no key" in refusal(text)
    assert "c2hvcnQ" not in refusal(text)
    with pytest.raises(ConfigurationError, match=r"\[webhook\.NAME\]"):
        parse(Document("test", f"webhook = 7\n{configured()}"))
    assert "a webhook is a table with a name" in refusal('[webhook]\ngateway = "https://hook.example"')
    assert "a webhook is a table with a name" in refusal("[webhook.Gateway]\n")


def test_an_outbox_only_where_somebody_is_told(tmp_path: Path) -> None:
    """Without webhooks, and with one that is disabled, the store is the store itself."""
    text = table(tmp_path)
    for tables, there in (("", False), (text + "disabled = true\n", False), (text, True)):
        registry = assemble(parse(Document("test", configured(tables=tables))))
        assert isinstance(registry.store, Outbox) is there
        assert (registry.webhooks.fetch is not None) is there
