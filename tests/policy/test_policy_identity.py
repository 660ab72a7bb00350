"""What a name says and what it is read as, against the plainest definition of both: word by word and brand by brand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final

import pytest
from confusable_homoglyphs.confusables import confusables_data
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registrar.domain.client import Assurance
from registrar.domain.findings import listed
from registrar.policy.evidence import Facts
from registrar.policy.rules import identity
from registrar.policy.rules.applied import said
from registrar.policy.rules.identity import Brand, OwnBrands

FACTS: Final = Facts(Assurance.OPEN)
UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
SHORTEST: Final = 4

# --- the definition ---------------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Letters of one kind or digits in a row."""
    return re.findall(r"[^\W\d_]+|\d+", text)


def parted(text: str) -> str:
    """With a space where an English word begins inside another."""
    said = ""
    for at, one in enumerate(text):
        before, after = text[at - 1 : at] or " ", text[at + 1 : at + 2] or " "
        if re.fullmatch("[a-z][A-Z].|[A-Z]{2}[a-z]", before + one + after, re.DOTALL):
            said += " "
        said += one
    return said


@cache
def written(name: str) -> list[str]:
    """The words that a name has; none, where they are taken apart letter by letter or torn by what is not seen."""
    apart = [one for one in re.split(r"[\W_]+", name) if one]
    if len(apart) > 1 and all(len(one) == 1 for one in apart):
        return []
    if re.search("[A-Za-z0-9]\u2060+[A-Za-z0-9]", UNSEEN.sub("\u2060", name)):
        return []
    return words(parted(unicodedata.normalize("NFKC", name)).casefold())


@cache
def latin(character: str) -> str:
    """What a character is taken for."""
    for one in confusables_data.get(character, ()):
        if re.fullmatch("[A-Za-z0-9]+", one["c"]):
            return str(one["c"])
    named = unicodedata.name(character, "")
    form = re.fullmatch(r"(?:.* )?LATIN (?:SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL )?([A-Z])(?: WITH .*)?", named)
    return form[1] if form else character


@cache
def seen(name: str) -> list[str]:
    """The words that a person reads."""
    text = ""
    for one in unicodedata.normalize("NFKD", name):
        if one.isascii():
            text += one
        elif not UNSEEN.match(one) and not unicodedata.combining(one):
            text += latin(one)
    text = parted(text).casefold()
    for one, taken in ("1l", "il", "|l", "!l", "0o", "$s", "@a", ("rn", "m"), ("vv", "w")):
        text = text.replace(one, taken)
    return words(text)


def has(many: Sequence[str], few: Sequence[str], *, whole: bool) -> bool:
    """Whether words are others, or others in a row, however they are put together."""
    wanted = "".join(few)
    if whole:
        return "".join(many) == wanted
    for at in range(len(many)):
        row = ""
        for word in many[at:]:
            row += word
            if row == wanted:
                return True
            if len(row) > len(wanted):
                break
    return not wanted


def imitated(name: str, every: Sequence[Brand]) -> Brand | None:
    """The first brand that is read in a name and not said by it."""
    for one in every:
        if len("".join(written(one.name))) < SHORTEST or has(written(name), written(one.name), whole=False):
            continue
        if has(seen(name), seen(one.name), whole=one.whole):
            return one
    return None


def spoken(name: str, every: Sequence[Brand]) -> list[Brand]:
    """The brands that a name says."""
    return [one for one in every if has(written(name), written(one.name), whole=one.whole)]


def foreign(name: str, every: Sequence[Brand], host: str) -> Brand | None:
    """The first brand that a name says, where none of those is at home at the host."""
    found = spoken(name, every)
    return found[0] if found and not any(host in one.hosts for one in found) else None


def mixed(name: str) -> bool:
    """Whether a word of it has letters of alphabets that are taken for each other."""
    alphabets = {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC"}
    return any(
        len(alphabets & {unicodedata.name(one, "").split(" ")[0] for one in word if one.isalpha()}) > 1
        for word in words(name)
    )


# --- hostile names ----------------------------------------------------------------------------------------------------

OWN: Final = (
    OwnBrands(),
    OwnBrands.from_words(["Acme=acme.com,*.acme.com", "GitHub=git.acme.com", "AI=ai.acme.com", "Le=le.example"]),
    OwnBrands.from_words(["C1aude=claude.acme.com", "Вank=bank.example", "Example Agent=agent.example.com"]),
)
EVERY: Final = {own: (*own, *identity.shipped()) for own in OWN}
BRANDS: Final = sorted({one.name for every in EVERY.values() for one in every})
ODD: Final = st.sampled_from(
    [" ", "-", "_", "\u200b", "\u2060", "\u3164", "\ufe0f", "\u0301", "\u0338", "\n", "ﬁ", "ß", "İ", "中"]
)


def letters(one: str) -> st.SearchStrategy[str]:
    """A letter, or what is taken for it, or it with what is not seen before it."""
    pairs = {"m": ["rn"], "w": ["vv"], "l": ["1", "i", "|", "!"], "o": ["0"], "s": ["$"], "a": ["@"]}
    looks = [row["c"] for row in confusables_data.get(one, ())]
    others = [one.swapcase(), f"{one}\u0301", chr(ord(one) + 0xFEE0), *pairs.get(one.lower(), ()), *looks]
    return st.one_of(st.just(one), st.just(one), st.sampled_from(others), ODD.map(one.__add__))


def disguised(brand: str) -> st.SearchStrategy[str]:
    """A brand's name, letter by letter in what its letters are taken for."""
    return st.tuples(*(letters(one) if one.isascii() and one.isalnum() else st.just(one) for one in brand)).map("".join)


PIECES: Final = st.one_of(
    st.sampled_from(BRANDS),
    st.sampled_from(BRANDS).flatmap(disguised),
    st.sampled_from(["a", "s", "app", "App", "rn", "vv", "42", "Agent", "für", "для", "AI", "\u03bf", "\u13a0pp"]),
    ODD,
    st.text(max_size=8),
)
NAMES: Final = st.tuples(st.lists(PIECES, min_size=1, max_size=5), st.sampled_from(["", " ", "-"])).map(
    lambda drawn: drawn[1].join(drawn[0])
)


@settings(max_examples=300)
@given(st.sampled_from(OWN), NAMES, NAMES, st.sampled_from(["a.example", "github.com", "bank.example"]))
@example(OWN[0], "Claude", "Сlаudе", "a.example")
@example(OWN[2], "C1aude Claude", "Claude App", "claude.ai")
def test_names_are_judged_as_they_are_defined(own: OwnBrands, name: str, translated: str, host: str) -> None:
    """The name and its translation, under the brands that ship and an operator's beside them."""
    metadata = {"client_name": name, "client_name#fr": translated, "redirect_uris": [f"https://{host}/cb"]}
    assert [*identity.lookalike(metadata, FACTS, brands=own)] == [
        said(identity.LOOKALIKE, "refuse", member, other=found.name)
        for member, text in (("client_name", name), ("client_name#fr", translated))
        if (found := imitated(text, EVERY[own]))
    ]
    assert [*identity.brands(metadata, FACTS, brands=own)] == [
        said(identity.BRAND, "warn", member, brand=found.name, host=host, accepted=listed(sorted(found.hosts.exact)))
        for member, text in (("client_name", name), ("client_name#fr", translated))
        if (found := foreign(text, EVERY[own], host))
    ]
    assert [*identity.mixed_scripts(metadata, FACTS)] == [
        said(identity.MIXED, "warn", member)
        for member, text in (("client_name", name), ("client_name#fr", translated))
        if mixed(text)
    ]


@settings(max_examples=30)
@given(NAMES, st.text(max_size=3), st.integers(20, 300))
def test_long_names_are_too(name: str, between: str, times: int) -> None:
    """However often it says it."""
    long = between.join([name] * times)[:4000]
    found = imitated(long, EVERY[OWN[1]])
    assert [*identity.lookalike({"client_name": long}, FACTS, brands=OWN[1])] == (
        [said(identity.LOOKALIKE, "refuse", "client_name", other=found.name)] if found else []
    )


def test_the_same_brands_are_found_by_policies_that_are_read_again() -> None:
    """Policies are compared by what they say, and so are the brands in them."""
    words = ["Acme=acme.com,*.acme.com"]
    one, other = OwnBrands.from_words(words), OwnBrands.from_words(words)
    assert one == other
    for own in (one, other, one):
        assert [*identity.lookalike({"client_name": "Аcme"}, FACTS, brands=own)]
        assert not [*identity.lookalike({"client_name": "Acme"}, FACTS, brands=own)]
    assert not [*identity.lookalike({"client_name": "Аcme"}, FACTS)]


def test_an_operators_brands_are_not_gone_through_for_a_name_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, a name that was judged lately costs the same."""
    own = OwnBrands.from_words([f"Acme {at}=acme{at}.com" for at in range(50)])
    metadata = {"client_name": "Асme 7", "redirect_uris": ["https://a.example/cb"]}
    first = [*identity.lookalike(metadata, FACTS, brands=own), *identity.brands(metadata, FACTS, brands=own)]
    monkeypatch.setattr(Brand, "__hash__", None)
    monkeypatch.setattr(Brand, "__eq__", None)
    assert first
    assert [
        *identity.lookalike(metadata, FACTS, brands=own),
        *identity.brands(metadata, FACTS, brands=own),
    ] == first
