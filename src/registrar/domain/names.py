"""What a name looks like to a person: characters that are taken for each other (Unicode TS 39 §4), and mixed scripts.

A name is never changed by this; what is compared is a skeleton of it, which two names have in common that look alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
# Where a word begins inside another, as in `DropBox` and in `AIBox`.
_INSIDE: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# What is not seen where it stands (Unicode's Default_Ignorable_Code_Point): a word goes on over it.
_IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSEEN: Final = re.compile(f"[{_IGNORABLE}]+")
_TORN: Final = re.compile(f"(?<=[A-Za-z0-9])[{_IGNORABLE}]+(?=[A-Za-z0-9])")
_APART: Final = re.compile(r"[\W_]*(?:[^\W_](?:[\W_]+|\Z)){2,}")
_LOOKS_LIKE: Final = str.maketrans({"1": "l", "i": "l", "|": "l", "!": "l", "0": "o", "$": "s", "@": "a"})
_PAIRS: Final = (("rn", "m"), ("vv", "w"))
_WESTERN: Final = frozenset({"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC"})
"""Scripts of which letters look like those of the others; Han with kana or Hangul with Latin is how people write."""
# As Unicode names `O WITH STROKE`, `SMALL CAPITAL G` and `NEGATIVE CIRCLED G`, which no table takes for an O or a G.
_FORM: Final = re.compile(r"(?:.* )?LATIN (?:SMALL |CAPITAL )?LETTER (?:SMALL CAPITAL )?([A-Z])(?: WITH .*)?")


class Spelling(NamedTuple):
    """The words of a name, written as one: people put them together and take them apart as they like."""

    letters: str
    words: tuple[str, ...]

    def has(self, other: Spelling, *, whole: bool = False) -> bool:
        """Whether another one is a word of it, or several in a row; `whole`, all of it."""
        if whole:
            return self.letters == other.letters
        at = self.letters.find(other.letters)
        if at < 0:
            return False
        edges = frozenset(accumulate(map(len, self.words), initial=0))  # where a word begins or ends
        while at >= 0:
            if at in edges and at + len(other.letters) in edges:
                return True
            at = self.letters.find(other.letters, at + 1)
        return False


_NOTHING: Final = Spelling("", ())


def written(name: str) -> Spelling:
    """The words that a name says: in the letters that it has, folded for case and compatibility.

    Nothing, where no word of it is one by itself: whoever takes words apart that a person reads as one does not say
    them, but has them read.
    """
    if _APART.fullmatch(name) or (not name.isascii() and _TORN.search(name)):
        return _NOTHING
    return _spelled(_parted(unicodedata.normalize("NFKC", name)).casefold())


def seen(name: str) -> Spelling:
    """The words that a person reads in a name: its skeleton, the same for all that look alike."""
    folded = _parted(_latinised(name)).casefold().translate(_LOOKS_LIKE)
    for pair, one in _PAIRS:
        folded = folded.replace(pair, one)
    return _spelled(folded)


def mixed(name: str) -> str:
    """The first word of a name whose letters are of several scripts that look alike; empty where there is none."""
    return "" if name.isascii() else _mixed(name)


def _parted(text: str) -> str:
    """A text with a space before every word that begins inside another."""
    return _INSIDE.sub(" ", text)


def _spelled(text: str) -> Spelling:
    words = tuple(_WORD.findall(text))
    return Spelling("".join(words), words)


def _latinised(name: str) -> str:
    """A name with the Latin letters that its own are taken for."""
    decomposed = unicodedata.normalize("NFKD", name)
    if decomposed.isascii():
        return decomposed
    data = _confusables()
    bare = (one for one in _UNSEEN.sub("", decomposed) if not unicodedata.combining(one))
    return "".join(one if one.isascii() else _latin(data, one) for one in bare)


@cache
def _confusables() -> Mapping[str, Sequence[Mapping[str, str]]]:
    """Unicode's table: character -> what it is taken for."""
    from confusable_homoglyphs import confusables  # 60 ms, and most names are ASCII

    data: Mapping[str, Sequence[Mapping[str, str]]] = confusables.confusables_data
    return data


def _latin(data: Mapping[str, Sequence[Mapping[str, str]]], character: str) -> str:
    """The ASCII letter or digit that a character is taken for; itself where there is none."""
    taken = next((one["c"] for one in data.get(character, ()) if one["c"].isascii() and one["c"].isalnum()), "")
    if taken:
        return taken
    form = _FORM.fullmatch(unicodedata.name(character, ""))
    return form[1] if form else character


@lru_cache(maxsize=4096)  # the same names come again and again
def _mixed(name: str) -> str:
    for word in _WORD.findall(name):
        scripts = {unicodedata.name(one, "").partition(" ")[0] for one in word if one.isalpha()}
        if len(_WESTERN & scripts) > 1:
            return str(word)
    return ""
