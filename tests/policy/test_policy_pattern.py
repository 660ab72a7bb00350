"""Patterns in policies: what is refused at load, and that what is taken is fast whatever it is held against."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.policy.pattern import LENGTH, compiled

HOSTILE = [
    ("(a+)+b", "repeats what repeats or chooses already"),
    ("(a*)*", "repeats what repeats or chooses already"),
    ("(?:a|a?)+b", "repeats what repeats or chooses already"),
    ("((ab)*c)*", "repeats what repeats or chooses already"),
    ("(a{1,20}){1,20}", "repeats what repeats or chooses already"),
    ("a*a*b", "too many repetitions of which the length is open"),
    (".*x.*", "too many repetitions of which the length is open"),
    ("(?:ab|a)+c", "repeats what repeats or chooses already"),
    ("(?:a?b?a?)+c", "repeats what repeats or chooses already"),
    ("a{1,99}a{1,99}a{1,99}a{1,99}b", "too many repetitions of which the length is open"),
    (("a?" * 30) + "b", "too many repetitions of which the length is open"),
    ("a{1,257}", "repeats more than 256 times"),
    ("a{1000}", "repeats more than 256 times"),
    (r"(a)\1", "uses groupref"),
    ("(?=a)b", "uses assert"),
    ("(?!a)b", "uses assert_not"),
    ("(?<=a)b", "uses assert"),
    ("(?<!a)b", "uses assert_not"),
    ("(?>a+)b", "uses atomic_group"),
    ("(a)?(?(1)b|c)", "uses groupref_exists"),
    ("(", "is no pattern"),
    ("[", "is no pattern"),
    ("*", "is no pattern"),
    ("a{2,1}", "is no pattern"),
    ("a" * (LENGTH + 1), f"at most {LENGTH} characters"),
    ("(" * 100 + ")" * 100, ""),
]
ACCEPTED = [
    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "https://[a-z]{1,63}[.]example[.]com/.*",
    "(?:dev|test|prod)-[a-z0-9]+",
    "[A-Z]{2}",
    "(?i:acme)( [a-z]{1,20})?",
    "a{0,256}a{0,256}",
    "[^@]{1,64}@[a-z.]+",
    "^abc$",
    "a+?b",
    "(a+|b+)",
    "([0-9a-f]{2}:){5}[0-9a-f]{2}",
    "a++b",
    "",
]
INPUTS = [
    "a" * 2000,
    "a" * 1999 + "!",
    "ab" * 1000,
    "aA1-. @" * 285,
    "https://a.example.com/" + "x" * 1978,
    "\n" * 2000,
]
SECONDS = 0.5


@pytest.mark.parametrize(("text", "reason"), HOSTILE)
def test_hostile_patterns(text: str, reason: str) -> None:
    """A pattern that may take long, that looks around or refers back, or that is none, is refused with its reason."""
    if not reason:
        compiled(text)
        return
    with pytest.raises(ValueError, match=reason):
        compiled(text)


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted_patterns_are_fast(text: str) -> None:
    """What is taken answers at once on the longest text that a member may have, built to make it try again."""
    pattern = compiled(text)
    for value in INPUTS:
        began = time.process_time()
        pattern.fullmatch(value)
        assert time.process_time() - began < SECONDS


_atoms = st.sampled_from(["a", "[ab]", ".", "(?:a|ab)", "(?:b|a|aa)", "b?", "a{0,3}", "a{1,256}", "a*", "a+", "(?:a+)"])


@given(
    st.lists(_atoms, min_size=1, max_size=6), st.sampled_from(["", "?", "*", "+", "{0,9}"]), st.sampled_from(["", "!"])
)
def test_whatever_is_accepted_is_fast(parts: list[str], repeated: str, end: str) -> None:
    """Patterns put together from parts are refused, or answer at once on hostile text."""
    text = f"(?:{''.join(parts)}){repeated}{end}" if repeated else "".join(parts) + end
    try:
        pattern = compiled(text)
    except ValueError:
        return
    began = time.process_time()
    for value in INPUTS[:3]:
        pattern.fullmatch(value)
    assert time.process_time() - began < SECONDS * 3


def test_a_pattern_matches_whole() -> None:
    """A pattern is held against the whole text, and cannot be got around by a line end."""
    assert compiled("[a-z]+").fullmatch("abc")
    assert not compiled("[a-z]+").fullmatch("abc\n")
    assert not compiled("[a-z]+").fullmatch("xabc1")
