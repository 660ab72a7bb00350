"""What a name looks like to a person: characters that are taken for each other (Unicode TS 39 §4), and mixed scripts.

A name is never changed by this; what is compared is a skeleton of it, which two names have in common that look alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Final, NamedTuple

_WORD: Final = re.compile(r"[^\W_]+")
_LOOKS_LIKE: Final = str.maketrans({"1": "l", "i": "l", "|": "l", "!": "l", "0": "o", "$": "s", "@": "a"})
_PAIRS: Final = (("rn", "m"), ("vv", "w"))
_WESTERN: Final = frozenset({"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC"})
"""Scripts of which letters look like those of the others; Han with kana or Hangul with Latin is how people write."""


class Reading(NamedTuple):
    """A name as it is written, and as it is read."""

    words: tuple[str, ...]
    """Its words, folded for case and compatibility, with the letters that they have."""
    seen: tuple[str, ...]
    """The skeletons of its words: the same for all that look alike."""
    mixed: str
    """The first word whose letters are of several scripts that look alike; empty where there is none."""

    def says(self, other: Reading, *, whole: bool = False) -> bool:
        """Whether it says another name in plain letters, as a word or words of it; `whole`, as all of it."""
        return _within(other.words, self.words, whole=whole)

    def looks_like(self, other: Reading, *, whole: bool = False) -> bool:
        """Whether a person would read another name in it; also where its letters stand apart."""
        apart = all(len(word) == 1 for word in self.seen) and "".join(self.seen) == "".join(other.seen)
        return apart or _within(other.seen, self.seen, whole=whole)


@lru_cache(maxsize=4096)
def read(name: str) -> Reading:
    """A name as it is written and as it is read; the same names come again and again."""
    words = tuple(_WORD.findall(unicodedata.normalize("NFKC", name).casefold()))
    return Reading(words, tuple(_WORD.findall(skeleton(name))), "" if name.isascii() else _mixed(name))


def skeleton(name: str) -> str:
    """What is left of a name when everything that looks alike is the same; it is no text for people."""
    decomposed = unicodedata.normalize("NFKD", name)
    if not decomposed.isascii():
        data = _confusables()
        bare = (one for one in decomposed if not unicodedata.combining(one))
        decomposed = "".join(one if one.isascii() else _latin(data, one) for one in bare)
    folded = decomposed.casefold().translate(_LOOKS_LIKE)
    for pair, one in _PAIRS:
        folded = folded.replace(pair, one)
    return folded


@cache
def _confusables() -> Mapping[str, Sequence[Mapping[str, str]]]:
    """Unicode's table: character -> what it is taken for."""
    from confusable_homoglyphs import confusables  # 60 ms, and most names are ASCII

    data: Mapping[str, Sequence[Mapping[str, str]]] = confusables.confusables_data
    return data


def _latin(data: Mapping[str, Sequence[Mapping[str, str]]], character: str) -> str:
    """The ASCII letter or digit that a character is taken for; itself where there is none."""
    return next((one["c"] for one in data.get(character, ()) if one["c"].isascii() and one["c"].isalnum()), character)


def _mixed(name: str) -> str:
    for word in _WORD.findall(name):
        scripts = {unicodedata.name(one, "").partition(" ")[0] for one in word if one.isalpha()}
        if len(_WESTERN & scripts) > 1:
            return str(word)
    return ""


def _within(wanted: tuple[str, ...], found: tuple[str, ...], *, whole: bool) -> bool:
    if whole:
        return wanted == found
    size = len(wanted)
    return any(found[at : at + size] == wanted for at in range(len(found) - size + 1))
