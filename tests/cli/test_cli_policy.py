"""`registrar policy`: list, show, check, explain, diff, impact."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Desk

POLICY = """description = "Partners"
rules = [{ rule = "localhost", verdict = "refuse" }]

[metadata]
client_name = { essential = true }
grant_types = { subset_of = ["authorization_code"] }
"""
REQUEST = json.dumps({"redirect_uris": ["http://localhost/cb"], "grant_types": ["authorization_code", "refresh_token"]})


@pytest.fixture
def partner(desk: Desk) -> Desk:
    """A desk with a policy and a request in files."""
    (desk.folder / "partner.toml").write_text(POLICY)
    (desk.folder / "request.json").write_text(REQUEST)
    return desk


def test_list_and_show(partner: Desk) -> None:
    """Policies are listed with where they are from, and shown with everything they say; a file is shown too."""
    rows = {row["policy"]: row for row in partner.told("policy", "list")}
    shown = partner.told("policy", "show", "partner.toml")

    assert rows["default"] == {**rows["default"], "from": "shipped", "of": "main"}
    assert shown["metadata"]["grant_types"] == {"subset_of": ["authorization_code"]}
    assert shown["rules"] == [{"rule": "localhost", "verdict": "refuse"}]
    assert partner.told("policy", "show", "default")["name"] == "default"
    assert "there is no policy nobody" in partner.refused("policy", "show", "nobody")


def test_check(partner: Desk) -> None:
    """A file is loaded as strictly as by a server, and the line is told where something is wrong."""
    path = partner.folder / "partner.toml"

    assert "partner.toml is in order." in partner.done("policy", "check", "partner.toml")
    assert partner.told("policy", "check", "registrar.toml") == []
    for wrong, line in (("subset_of", 6), ("essential", 5), ("localhost", 2), ("description", 1)):
        path.write_text(POLICY.replace(wrong, f"x_{wrong}"))
        assert partner.refused("policy", "check", "partner.toml").startswith(f"partner.toml:{line}: "), wrong
    path.write_text(POLICY + "[")
    assert partner.refused("policy", "check", "partner.toml").startswith("partner.toml:")


def test_check_tables(partner: Desk) -> None:
    """A file with [policy.NAME] tables is checked policy by policy; each may extend another."""
    (partner.folder / "several.toml").write_text(
        '[policy.one]\nfeatures = []\n[policy.two]\nextends = ["one"]\n'.replace("features = []\n", "")
    )

    rows = partner.told("policy", "check", "several.toml")

    assert [row["policy"] for row in rows] == ["one", "two"]


def test_explain(partner: Desk) -> None:
    """What would be registered, or why not; and nothing is stored."""
    printed = partner.done("policy", "explain", "default", "request.json")
    narrowed = partner.told(
        "policy", "explain", "default", "request.json", "--assurance", "client", "--token-scope", "openid"
    )

    assert "It would be registered." in printed
    assert "rule.localhost" in printed
    assert "authorization_code" in printed
    assert not narrowed["refused"]
    assert "Refused." in partner.done("policy", "explain", "default")
    assert partner.told("client", "list") == []
    assert "configured no more" in partner.refused("policy", "explain", "nobody", "request.json")
    (partner.folder / "request.json").write_text("{")
    assert "not JSON" in partner.misused("policy", "explain", "default", "request.json")


def test_diff(partner: Desk) -> None:
    """Two policies differ member by member, rule by rule, and on a request."""
    differences = partner.told("policy", "diff", "default", "partner.toml", "request.json")
    where = {row["where"]: (row["one"], row["other"]) for row in differences["differences"]}

    assert where["metadata.client_name.essential"] == (None, True)
    assert where["metadata.grant_types.subset_of"] == (None, ["authorization_code"])
    assert (None, {"rule": "localhost", "verdict": "refuse"}) in [
        (row["one"], row["other"]) for row in differences["differences"] if row["where"] == "rules"
    ]
    assert {row["where"]: row["other"] for row in differences["request"]}["outcome"] == "invalid_redirect_uri"
    assert partner.told("policy", "diff", "default", "default") == {"differences": []}
    assert "client_name" in partner.done("policy", "diff", "default", "partner.toml", "request.json")


def test_impact(partner: Desk) -> None:
    """Which clients would be refused or changed, in a table with sums and in lines for programs."""
    named = partner.register({"grant_types": ["authorization_code", "refresh_token"]})
    local = partner.register({"redirect_uris": ["http://localhost/cb"]})
    partner.register()

    printed = partner.done("policy", "impact", "partner.toml")
    lines = [json.loads(line) for line in partner.done("policy", "impact", "partner.toml", "--json").splitlines()]

    assert "1 same, 1 changed, 1 refused" in printed
    assert "policy.subset_of" in printed
    *concerned, sums = lines
    assert {one["client_id"]: one["outcome"] for one in concerned} == {
        named["client_id"]: "changed",
        local["client_id"]: "refused",
    }
    assert sums == {"policy": "partner", "digest": sums["digest"], "same": 1, "changed": 1, "refused": 1}
    only = partner.done("policy", "impact", "partner.toml", "--policy", "mine", "--json").splitlines()
    assert json.loads(only[-1])["same"] == 0
