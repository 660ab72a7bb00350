"""Policies as plain data, and how they differ."""

from __future__ import annotations

import itertools
import json

import pytest

from registrar.policy import Policy, all_of
from registrar.policy.comparison import differences, told
from registrar.policy.document import Document
from registrar.policy.loader import load, shipped

TEXT = """
description = "One"
features = ["JARM"]
rules = [{ rule = "localhost" }]
[metadata]
client_name = { essential = true }
[lifetime]
client = 60
"""


def policy(text: str, name: str = "one") -> Policy:
    """A policy from its text."""
    document = Document("test", text)
    return load(name, document.data, document)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_profile_is_told(name: str) -> None:
    """A profile is told as JSON, whole: everything that it says of members and rules is there."""
    profile = shipped()[name]

    shown = json.loads(json.dumps(told(profile)))

    assert shown["name"] == name
    assert set(shown.get("metadata", {})) == set(profile.members)
    assert [one["rule"] for one in shown.get("rules", [])] == [one.name for one in profile.rules]


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(sorted(shipped()), 2)])
def test_profiles_differ(one: str, other: str) -> None:
    """No two profiles are the same, a profile differs in nothing from itself, and a difference is one both ways."""
    first, second = shipped()[one], shipped()[other]

    there = differences(first, second)

    assert there
    assert differences(first, first) == []
    assert sorted((each.where, str(each.one), str(each.other)) for each in there) == sorted(
        (each.where, str(each.other), str(each.one)) for each in differences(second, first)
    )


def test_what_differs() -> None:
    """Members operator by operator, rules one by one, sections setting by setting; names and digests do not count."""
    changed = (
        TEXT.replace("true", "false").replace("60", "120").replace('"localhost"', '"localhost", verdict = "refuse"')
    )

    found = {each.where: (each.one, each.other) for each in differences(policy(TEXT), policy(changed, "two"))}

    assert found["metadata.client_name.essential"] == (True, None)
    assert found["lifetime.client"] == (60, 120)
    assert found["rules"] == (None, {"rule": "localhost", "verdict": "refuse"})
    assert "features" not in found
    assert "description" not in found


def test_several_as_one() -> None:
    """Policies that hold together are told as the one that they are."""
    together = all_of([policy(TEXT), policy("[metadata]\ncontacts = { essential = true }", "two")])

    assert set(told(together)["metadata"]) == {"client_name", "contacts"}
