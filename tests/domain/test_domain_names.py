"""Names as they are read: whatever the characters, and however long, at once."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import names

CLAUDE = names.seen("Claude")


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    """And looks like itself."""
    for found in (names.seen(text), names.written(text)):
        assert found.has(found, whole=True)


@given(
    st.text(st.characters(codec="ascii", categories=["Ll", "Zs"]), max_size=20), st.sampled_from(["Claude", "Clаude"])
)
def test_a_word_among_others_is_seen(rest: str, word: str) -> None:
    """Before them and after them."""
    assert names.seen(f"{rest} {word}").has(CLAUDE)
    assert names.seen(f"{word} {rest}").has(CLAUDE)
    assert not names.seen(f"{word}n {rest}").has(CLAUDE) or "claude" in rest


@pytest.mark.parametrize(
    "name", ["a  " * 1300 + "zz", " " * 4000, "aB" * 2000, "a \u00ad" * 1300, "\u3164" * 4000, "_" * 4000]
)
def test_no_name_takes_long(name: str) -> None:
    """An expression that tries every way to part a name would never end."""
    names.seen("Клод")  # the table is read once
    began = time.perf_counter()
    names.seen(name)
    names.written(name)
    names.mixed(name)
    assert time.perf_counter() - began < 1
