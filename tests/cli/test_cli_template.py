"""`registrar template`: create, change, look, enable, disable, delete; and its instances among the clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Desk

APP = json.dumps({"client_name": "Field App", "redirect_uris": ["https://app.example/cb"]})
METHOD = json.dumps({**json.loads(APP), "token_endpoint_auth_method": "client_secret_jwt"})


def create(desk: Desk, *options: str) -> str:
    """Create a template."""
    return desk.done("template", "create", "field-app", "--metadata", "-", *options, input=APP)


@pytest.mark.requirement("SEED-32", "SEED-34")
def test_life(desk: Desk) -> None:
    """A template is created, has instances, is changed, disabled, enabled and deleted, and each is told."""
    assert desk.done("template", "list") == "none\n"
    printed = create(desk, "--allow", "client_name", "--description", "For the field")
    client = desk.register({"software_id": "field-app", "client_name": "Anna's"})
    changed = desk.told("template", "change", "field-app", "--metadata", "-", "--version", "1", input=METHOD)
    shown = desk.told("template", "show", "field-app")

    assert printed.startswith("Created.")
    assert (shown["version"], shown["instances"], shown["allowed"]) == (2, 1, [])
    assert changed["waiting"] == 1
    assert [row["client_id"] for row in desk.told("client", "list", "--template", "field-app")] == [client["client_id"]]
    assert desk.told("client", "list", "--template", "another") == []
    assert desk.done("template", "disable", "field-app", "--reason", "stolen build").startswith("Disabled.")
    assert desk.told("client", "show", client["client_id"])["suspended_by_template"] is True
    assert desk.told("template", "enable", "field-app")["state"] == "enabled"
    assert desk.told("template", "delete", "field-app")["state"] == "deleted"
    assert desk.told("client", "show", client["client_id"])["state"] == "deleted"
    (row,) = desk.told("template", "list")
    assert (row["template_id"], row["state"], row["instances"]) == ("field-app", "deleted", 1)


def test_waiting_is_said(desk: Desk) -> None:
    """A change that each instance has to complete says how many there are."""
    create(desk)
    desk.register({"software_id": "field-app"})

    said = desk.done("template", "change", "field-app", "--metadata", "-", input=METHOD)

    assert "1 instances have a secret that the server cannot read" in said


def test_refusals(desk: Desk) -> None:
    """What cannot be is told in a line, with the member and what would be accepted."""
    create(desk)
    arguments = ("template", "create", "field-app", "--metadata", "-")

    assert "never used again" in desk.refused(*arguments, input=APP)
    assert "redirect_uris[0]" in desk.refused(*arguments, input='{"redirect_uris": ["ftp://x.example"]}')
    assert "there is no such policy" in desk.refused(*arguments, "--policy", "nobody", input=APP)
    assert "holds nonsense" in desk.refused(*arguments, "--allow", "nonsense", input=APP)
    assert "there is no template" in desk.refused("template", "show", "another")
    assert "by now, not 7" in desk.refused(
        "template", "change", "field-app", "--metadata", "-", "--version", "7", input=APP
    )
    assert "not JSON" in desk.misused(*arguments, input="{")
    assert "not a JSON object" in desk.misused(*arguments, input="[]")
