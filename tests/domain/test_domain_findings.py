"""Rules, the findings that they give, and the errors that are made of these."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import findings as module
from registrar.domain.errors import ERRORS, BearerError, ProtocolError, RegistrationError
from registrar.domain.findings import RULES, SHOWN, Fault, Finding, Rule, Verdict, listed, rule, shown
from registrar.http import application  # every room that defines rules has been imported then

assert application

# RFC 6749 §5.2: error_description = 1*( %x20-21 / %x23-5B / %x5D-7E )
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
anything = st.text(st.characters(exclude_categories=()))


@pytest.mark.requirement("R7591-57")
@given(st.one_of(anything, st.integers(), st.none(), st.lists(anything, max_size=3), st.binary()))
def test_shown_may_stand_in_a_description(value: Any) -> None:
    """A presented value is repeated in printable ASCII without quotes and backslashes, and never long."""
    said = shown(value)

    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*", said)
    assert len(said) <= SHOWN


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://a.example/x?y=z", "https://a.example/x?y=z"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 77 + "..."),
        ('say "hi" \\ bye', "say ?hi? ? bye"),
        ("a\x00b\nc\x7f", "a?b?c?"),
        ("é名\ud800", "???"),
        (7, "7"),
        (None, "None"),
        (["a", 1, None], "a, 1, None"),
        (("a",), "a"),
        ([], "nothing"),
        (set(), "nothing"),
        (["x" * 50, "y" * 50], "x" * 50 + ", " + "y" * 25 + "..."),
    ],
)
def test_shown(value: Any, said: str) -> None:
    """What is repeated of a value, exactly."""
    assert shown(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://user:hunter2@a.example/x", "https://...@a.example/x"),
        ("https://hunter2@a.example", "https://...@a.example"),
        ("https://a@hunter2@a.example", "https://...@a.example"),
        ("//hunter2@a.example", "//...@a.example"),
        ("a https://x:hunter2@h b https://y:hunter2@i", "a https://...@h b https://...@i"),
        ("https://a.example/x@y", "https://a.example/x@y"),
        ("https://a.example/?m=x@y#@", "https://a.example/?m=x@y#@"),
        ("https://hunter2" + "x" * 5000 + "@a.example", "https://...@a.example"),
        (["https://u:hunter2@a.example"], "https://...@a.example"),
    ],
)
def test_no_password_is_shown(value: Any, said: str) -> None:
    """What stands before the host of a URL may be a password, and is left out however long it is."""
    assert shown(value) == said
    assert "hunter2" not in shown(value)


def test_the_servers_own_lists_are_said_in_full() -> None:
    """What would be accepted is told whole, even where it is long."""
    values = [f"value-{at}" for at in range(100)]

    assert shown(listed(values)) == ", ".join(values)
    assert listed([]) == "nothing"


def test_verdicts() -> None:
    """A rule refuses with its error; what it changes, ignores or warns of is no error."""
    one = Rule("name", "source", "is {given}", "{wanted}", "invalid_redirect_uri")

    refused = one.refuse("member", given="a\nb", wanted=listed(["c"]))
    assert refused == Finding("name", "member", Verdict.REFUSED, "is a?b", "c", "invalid_redirect_uri")
    assert refused.fault() == Fault("member", "name", "is a?b", "c")
    changed = one.change("member", 1, [2], given=1, wanted=2)
    assert (changed.verdict, changed.error, changed.before, changed.after) == (Verdict.CHANGED, "", 1, [2])
    for finding, verdict in (
        (one.ignore("m", given=1, wanted=2), "ignored"),
        (one.warn("m", given=1, wanted=2), "warned"),
    ):
        assert (finding.verdict, finding.error) == (verdict, "")
    bare = Rule("n", "s", "r").refuse("m").fault()
    assert msgspec.to_builtins(bare) == {"member": "m", "rule": "n", "reason": "r"}


@given(anything, anything)
def test_a_value_is_never_a_template(given_: str, other: str) -> None:
    """Braces in what was sent are text, not references."""
    one = Rule("name", "source", "{given} and {other}")

    assert one.refuse("m", given=given_, other=other).reason == f"{shown(given_)} and {shown(other)}"
    assert one.refuse("m", given="{other}", other="x").reason == "{other} and x"


def test_a_fact_that_is_missing_is_noticed() -> None:
    """A rule applied without a fact that its text needs fails loudly."""
    with pytest.raises(KeyError):
        Rule("name", "source", "{given}").refuse("m", other=1)


def test_names_are_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rules cannot have one name."""
    monkeypatch.setattr(module, "RULES", {})
    rule("one", "source", "reason")

    with pytest.raises(ValueError, match="rule one is defined twice"):
        rule("one", "source", "reason")


@pytest.mark.parametrize("name", sorted(RULES))
def test_rules_are_well_written(name: str) -> None:
    """Each rule has its name, a source, an error of the table, and a text that an error description can carry."""
    one = RULES[name]

    assert one.name == name
    assert re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+", name)
    assert one.source.isprintable()
    assert one.source
    assert ERRORS[one.error].status == 400  # a refusal says what is wrong with the request
    assert DESCRIPTION.fullmatch(one.reason)
    assert not one.accepted or DESCRIPTION.fullmatch(one.accepted)
    assert not one.reason.endswith(".")


# --- errors -------------------------------------------------------------------------------------------------------------


def refusal(member: str, error: str, *, reason: str = "reason", accepted: str = "") -> Finding:
    """A finding that refuses."""
    return Finding("rule", member, Verdict.REFUSED, reason, accepted, error)


@pytest.mark.requirement("R7591-58", "WILD-18")
@pytest.mark.parametrize(
    ("errors", "code"),
    [
        (["invalid_client_metadata"], "invalid_client_metadata"),
        (["invalid_client_metadata", "invalid_redirect_uri"], "invalid_redirect_uri"),
        (["invalid_redirect_uri", "invalid_software_statement"], "invalid_software_statement"),
        (["unapproved_software_statement", "invalid_redirect_uri"], "unapproved_software_statement"),
        (["unapproved_software_statement", "invalid_software_statement"], "invalid_software_statement"),
        (["invalid_client_metadata", "invalid_redirect_uri", "invalid_request"], "invalid_request"),
        (["unapproved_software_statement", "invalid_request"], "invalid_request"),
    ],
)
def test_which_error_names_the_refusal(errors: list[str], code: str) -> None:
    """Of several errors the gravest names the refusal, and its first fault the description."""
    error = RegistrationError([refusal(f"m{at}", one, reason=f"says {one}") for at, one in enumerate(errors)])

    assert (error.kind.code, error.kind.status) == (code, 400)
    assert error.description.startswith(f"m{errors.index(code)}: says {code}.")


@pytest.mark.requirement("R7591-57")
def test_descriptions() -> None:
    """The description is a sentence with what would be accepted, and tells how many more faults there are."""
    quiet = Finding("rule", "m", Verdict.IGNORED, "reason")
    one = RegistrationError([quiet, refusal("m", "invalid_client_metadata", accepted="x")])
    two = RegistrationError([refusal("m", "invalid_client_metadata"), refusal("n", "invalid_client_metadata")])

    assert one.description == str(one) == "m: reason. Accepted: x."
    assert [fault.member for fault in one.faults] == ["m"]
    assert len(one.findings) == 2
    assert two.description == "m: reason. (1 more in faults)"


@pytest.mark.requirement("R7591-57", "BASE-30")
@given(st.lists(st.tuples(st.sampled_from(sorted(RULES)), anything), min_size=1, max_size=4))
def test_descriptions_of_hostile_input(faults: list[tuple[str, str]]) -> None:
    """Whatever was sent, the description is made of the characters of RFC 6749 §5.2."""
    names = re.compile(r"\{(\w+)\}")
    found = []
    for name, text in faults:
        one = RULES[name]
        facts = dict.fromkeys(names.findall(one.reason + one.accepted), text)
        found.append(one.refuse("member", **facts))

    assert DESCRIPTION.fullmatch(RegistrationError(found).description)


@pytest.mark.requirement("R7591-56", "R7591-57", "BASE-32")
def test_the_table_of_errors() -> None:
    """Each row has a code of the standards, a status and a sentence that a description can carry."""
    for name, row in ERRORS.items():
        assert row.name == name
        assert re.fullmatch(r"[a-z_]+", row.code)
        assert 400 <= row.status < 600
        assert row.source
        assert DESCRIPTION.fullmatch(row.meaning)
    assert {ERRORS[name].status for name in ERRORS if ERRORS[name].code == "invalid_token"} == {401}
    assert ERRORS["insufficient_scope"].status == 403


def test_protocol_errors() -> None:
    """An error without a sentence of its own says what its row means; a bearer error carries a scope."""
    assert ProtocolError("not_found").description == ERRORS["not_found"].meaning
    assert ProtocolError("not_found", "x", headers=[(b"a", b"b")]).headers == ((b"a", b"b"),)
    assert BearerError("insufficient_scope", scope="dcr").scope == "dcr"
    with pytest.raises(KeyError):
        ProtocolError("no such error")
