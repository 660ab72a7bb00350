"""What a policy says, in one hash: another for every change of it, and the same in every process and file."""

from __future__ import annotations

import subprocess
import sys

import pytest

from registrar.policy import Policy
from registrar.policy.comparison import terms
from registrar.policy.document import Document
from registrar.policy.loader import load, shipped

BASE = """
[p]
extends = ["mcp"]
rules = [{ rule = "single_instance" }]
[p.metadata.client_name]
essential = true
"""
CHANGES = [
    ('["mcp"]', '["default"]'),
    ('rules = [{ rule = "single_instance" }]', ""),
    ('{ rule = "single_instance" }', '{ rule = "single_instance", software = ["a"] }'),
    ("essential = true", "essential = false"),
    ("essential = true", 'default = "Reader"'),
    ("essential = true", 'one_of = ["A", "B"]'),
    ("[p.metadata.client_name]", "[p.review]\nflagged = true\n[p.metadata.client_name]"),
    ("[p.metadata.client_name]", '[p.changes]\nscope = "review"\n[p.metadata.client_name]'),
    ("[p.metadata.client_name]", '[p.changes]\ndefault = "review"\n[p.metadata.client_name]'),
    ("[p.metadata.client_name]", "[p.lifetime]\nclient = 60\n[p.metadata.client_name]"),
    ("[p.metadata.client_name]", '[p.registration]\nauthentication = ["statement"]\n[p.metadata.client_name]'),
]
"""A part of the text, and what stands there then."""


def loaded(text: str) -> Policy:
    """The policy of a text."""
    document = Document("p.toml", text)
    return load("p", document.data["p"], document, "p")


@pytest.mark.parametrize(("part", "other"), CHANGES)
def test_what_it_says_changes_it(part: str, other: str) -> None:
    """Members, rules and their arguments, and every section."""
    assert part in BASE
    assert terms(loaded(BASE.replace(part, other))) != terms(loaded(BASE))


def test_where_it_says_so_does_not() -> None:
    """Not the file around it, not what it is called, not what is said about it."""
    text = f"# Another line.\n{BASE}\n[other]\nx = 1\n".replace("[p]", '[p]\ndescription = "Ours"')
    assert loaded(text).digest != loaded(BASE).digest
    assert terms(loaded(text)) == terms(loaded(BASE))


def test_every_process_has_the_same() -> None:
    """Nothing of it is of one process alone: no address of a function, no order of a set."""
    program = "from registrar.policy.comparison import terms; from registrar.policy.loader import shipped\n"
    program += "print(*(terms(policy) for _, policy in sorted(shipped().items())))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [terms(policy) for _, policy in sorted(shipped().items())]
    assert len(set(map(terms, shipped().values()))) == len(shipped())
