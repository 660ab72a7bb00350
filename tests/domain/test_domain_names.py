"""Names as they are read: whatever the characters, and however long, at once."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import names

CLAUDE = names.read("Claude")


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    """And looks like itself."""
    found = names.read(text)
    assert found.looks_like(found, whole=True)
    assert found.says(found, whole=True)


@given(
    st.text(st.characters(codec="ascii", categories=["Ll", "Zs"]), max_size=20), st.sampled_from(["Claude", "Clаude"])
)
def test_a_word_among_others_is_seen(rest: str, word: str) -> None:
    """Before them and after them."""
    assert names.read(f"{rest} {word}").looks_like(CLAUDE)
    assert names.read(f"{word} {rest}").looks_like(CLAUDE)
    assert not names.read(f"{word}n {rest}").looks_like(CLAUDE) or "claude" in rest


@pytest.mark.parametrize(
    "name", ["a  " * 1300 + "zz", " " * 4000, "aB" * 2000, "a \u00ad" * 1300, "\u3164" * 4000, "_" * 4000]
)
def test_no_name_takes_long(name: str) -> None:
    """An expression that tries every way to part a name would never end."""
    names.read("Клод")  # the table is read once
    began = time.perf_counter()
    names.read(name)
    assert time.perf_counter() - began < 1
