"""OpenID Federation's operators: what each changes and refuses, in which order, and what they can never do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registrar.domain.findings import Finding, Verdict
from registrar.policy.document import ConfigurationError, Document
from registrar.policy.loader import load
from registrar.policy.operators import Operators, as_words, from_words


def apply(operators: Operators, name: str, value: Any) -> tuple[Any, list[Finding]]:
    """What becomes of a value, and the findings."""
    findings: list[Finding] = []
    return operators.check(name, operators.modify(name, value, findings), findings), findings


def told(findings: list[Finding]) -> list[str]:
    """Rule and verdict of each finding."""
    return [f"{one.rule.removeprefix('policy.')} {one.verdict}" for one in findings]


CASES: list[tuple[str, Operators, str, Any, Any, list[str]]] = [
    ("nothing", Operators(), "contacts", ["a"], ["a"], []),
    ("nothing absent", Operators(), "contacts", None, None, []),
    ("value", Operators(value="x"), "client_name", "y", "x", ["value changed"]),
    ("value absent", Operators(value="x"), "client_name", None, "x", ["value changed"]),
    ("value same", Operators(value="x"), "client_name", "x", "x", []),
    ("value false", Operators(value=False), "require_auth_time", True, False, ["value changed"]),
    ("value list", Operators(value=["a"]), "contacts", ["b"], ["a"], ["value changed"]),
    ("add", Operators(add=("b", "a")), "contacts", ["a"], ["a", "b"], ["add changed"]),
    ("add absent", Operators(add=("b",)), "contacts", None, ["b"], ["add changed"]),
    ("add there", Operators(add=("b",)), "contacts", ["b", "a"], ["b", "a"], []),
    ("add scope", Operators(add=("b",)), "scope", "a", "a b", ["add changed"]),
    ("add scope absent", Operators(add=("b", "c")), "scope", None, "b c", ["add changed"]),
    ("default", Operators(default="x"), "client_name", None, "x", ["default changed"]),
    ("default given", Operators(default="x"), "client_name", "y", "y", []),
    ("default false", Operators(default=False), "require_auth_time", None, False, ["default changed"]),
    ("default kept", Operators(default=True), "require_auth_time", False, False, []),
    ("add before default", Operators(add=("a",), default=["b"]), "contacts", None, ["a"], ["add changed"]),
    ("one_of", Operators(one_of=("a", "b")), "subject_type", "b", "b", []),
    ("one_of other", Operators(one_of=("a", "b")), "subject_type", "c", "c", ["one_of refused"]),
    ("one_of absent", Operators(one_of=("a", "b")), "subject_type", None, None, []),
    ("one_of number", Operators(one_of=(60,)), "default_max_age", 61, 61, ["one_of refused"]),
    ("subset_of", Operators(subset_of=("a", "b")), "contacts", ["b", "x", "a", "y"], ["b", "a"], ["subset_of changed"]),
    ("subset_of whole", Operators(subset_of=("a", "b")), "contacts", ["b"], ["b"], []),
    ("subset_of none", Operators(subset_of=("a",)), "contacts", ["x"], ["x"], ["subset_of_empty refused"]),
    ("subset_of empty", Operators(subset_of=("a",)), "contacts", [], [], []),
    ("subset_of absent", Operators(subset_of=("a",)), "contacts", None, None, []),
    ("subset_of scope", Operators(subset_of=("a", "b")), "scope", "x b", "b", ["subset_of changed"]),
    ("subset_of scope none", Operators(subset_of=("a",)), "scope", "x y", "x y", ["subset_of_empty refused"]),
    ("redirects", Operators(subset_of=("a:/", "b:/")), "redirect_uris", ["a:/"], ["a:/"], []),
    ("redirects other", Operators(subset_of=("a:/",)), "redirect_uris", ["a:/", "c:/"], ["a:/", "c:/"], ["redirect_uris refused"]),
    ("superset_of", Operators(superset_of=("a",)), "contacts", ["b", "a"], ["b", "a"], []),
    ("superset_of lacking", Operators(superset_of=("a", "b")), "contacts", ["b"], ["b"], ["superset_of refused"]),
    ("superset_of scope", Operators(superset_of=("a", "b")), "scope", "b a", "b a", []),
    ("superset_of absent", Operators(superset_of=("a",)), "contacts", None, None, []),
    ("essential", Operators(essential=True), "client_name", "x", "x", []),
    ("essential absent", Operators(essential=True), "client_name", None, None, ["essential refused"]),
    ("essential false", Operators(essential=True), "require_auth_time", False, False, []),
    ("essential default", Operators(essential=True, default="x"), "client_name", None, "x", ["default changed"]),
    (
        "all together",
        Operators(add=("b",), subset_of=("a", "b"), superset_of=("a",), essential=True),
        "contacts",
        ["x"],
        ["b"],
        ["add changed", "subset_of changed", "superset_of refused"],
    ),
    ("one_of before superset_of", Operators(one_of=("a",), superset_of=("b",)), "scope", "c", "c", ["one_of refused", "superset_of refused"]),
]  # fmt: skip


@pytest.mark.requirement("SEED-85", "SEED-86", "SEED-87", "D-11")
@pytest.mark.parametrize(
    ("operators", "name", "value", "result", "findings"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_operators(operators: Operators, name: str, value: Any, result: Any, findings: list[str]) -> None:
    """Each operator, alone and in the order of the standard: value, add, default; one_of, subset_of, superset_of, essential."""
    after, found = apply(operators, name, value)

    assert after == result
    assert told(found) == findings
    assert all("{" not in one.reason + one.accepted for one in found)
    assert all(one.member == name for one in found)
    changed = [one for one in found if one.verdict is Verdict.CHANGED]
    assert not changed or changed[0].before == value


@pytest.mark.requirement("D-7", "R7591-58")
@pytest.mark.parametrize("operators", [Operators(essential=True), Operators(subset_of=("https://a.example/",))])
def test_redirect_uris_have_their_error(operators: Operators) -> None:
    """A policy that refuses redirect URIs does it with the code for them, and never changes one."""
    value = None if operators.essential else ["https://b.example/"]
    after, (found,) = apply(operators, "redirect_uris", value)

    assert found.error == "invalid_redirect_uri"
    assert after is value


def test_a_policy_keeps_its_lists() -> None:
    """A list that a policy gives out is a new one each time, so that no registration can alter the policy."""
    value, default = Operators(value=["a"]), Operators(default=["a"])

    for operators in (value, default):
        given_out = apply(operators, "contacts", None)[0]
        given_out.append("b")
        assert apply(operators, "contacts", None)[0] == ["a"]


@pytest.mark.parametrize(
    ("operators", "permitted", "refused"),
    [
        (Operators(), "abc", ""),
        (Operators(value="a b"), "ab", "c"),
        (Operators(value=["a"]), "a", "bc"),
        (Operators(one_of=("a", "b")), "ab", "c"),
        (Operators(subset_of=("a", "b")), "ab", "c"),
        (Operators(one_of=("a",), subset_of=("a", "b")), "a", "bc"),
        (Operators(add=("a",)), "abc", ""),
    ],
)
def test_permits(operators: Operators, permitted: str, refused: str) -> None:
    """What discovery publishes is what the result may be or hold."""
    assert [value for value in "abc" if operators.permits(value)] == list(permitted)
    assert not any(operators.permits(value) for value in refused)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("scope", "a  b ", ["a", "b"]),
        ("client_name", "a b", ("a b",)),
        ("contacts", ["a b"], ["a b"]),
        ("require_auth_time", True, ()),
        ("contacts", None, ()),
    ],
)
def test_words(name: str, value: Any, words: Any) -> None:
    """Scope is a list in one string; other strings are one word, and what is no text has none."""
    assert as_words(name, value) == words
    assert from_words("scope", ["a", "b"]) == "a b"
    assert from_words("contacts", ["a", "b"]) == ["a", "b"]


# --- properties: of every policy that the loader takes ----------------------------------------------------------------------

WORDS = ("openid", "profile", "email", "address")
_lists = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True)
_tables = st.fixed_dictionaries(
    {},
    optional={
        "value": _lists,
        "add": _lists,
        "default": _lists,
        "subset_of": _lists,
        "superset_of": _lists,
        "essential": st.booleans(),
    },
)
_members = st.sampled_from(["scope", "contacts"])


def loaded(name: str, table: dict[str, Any]) -> Operators:
    """The operators of a table, if a policy may have them."""
    spelled = {
        key: " ".join(value) if name == "scope" and key in ("value", "default") else value
        for key, value in table.items()
    }
    assume(spelled)
    try:
        return load("p", {"metadata": {name: spelled}}, Document("p", "")).members[name]
    except ConfigurationError:
        assume(False)
        raise


@pytest.mark.requirement("SEED-88")
@given(_members, _tables, st.none() | st.lists(st.sampled_from((*WORDS, "other")), min_size=1, max_size=5, unique=True))
def test_a_second_time_changes_nothing(name: str, table: dict[str, Any], words: list[str] | None) -> None:
    """What a policy made of a value it leaves alone the next time, and says the same about it."""
    operators = loaded(name, table)
    value = None if words is None else from_words(name, words)
    once, first = apply(operators, name, value)
    twice, second = apply(operators, name, once)

    assert twice == once
    assert [one for one in second if one.verdict is Verdict.CHANGED] == []
    assert second == [one for one in first if one.verdict is Verdict.REFUSED]


@given(_members, _tables, st.none() | st.lists(st.sampled_from((*WORDS, "other")), min_size=1, max_size=5, unique=True))
def test_the_result_obeys_the_policy(name: str, table: dict[str, Any], words: list[str] | None) -> None:
    """What is not refused lies within subset_of and around superset_of, is there if essential, and only narrows what was asked."""
    operators = loaded(name, table)
    after, found = apply(operators, name, None if words is None else from_words(name, words))
    if any(one.verdict is Verdict.REFUSED for one in found):
        return
    result = set(as_words(name, after))

    assert after is not None or not operators.essential
    assert operators.subset_of is None or result <= set(operators.subset_of)
    assert operators.superset_of is None or after is None or result >= set(operators.superset_of)
    given_by_policy = {*as_words(name, operators.value), *(operators.add or ()), *as_words(name, operators.default)}
    assert result <= set(words or ()) | given_by_policy
    assert all(operators.permits(word) for word in result)


@pytest.mark.requirement("D-7")
@given(
    st.lists(st.sampled_from(["a:/", "b:/", "c:/"]), min_size=1), st.lists(st.sampled_from(["a:/", "b:/"]), min_size=1)
)
def test_redirect_uris_are_only_checked(uris: list[str], allowed: list[str]) -> None:
    """No policy changes a redirect URI: they pass as they are, or are refused as they are."""
    after, found = apply(Operators(subset_of=tuple(allowed)), "redirect_uris", uris)

    assert after is uris
    assert bool(found) is not set(uris).issubset(allowed)
