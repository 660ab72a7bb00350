"""The languages that a person reads, and the translation of a member that fits them best (RFC 7591 §2.2, RFC 4647 §3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

_RANGES: Final = 20
"""Languages that are looked at; nobody reads more."""


class Text(NamedTuple):
    """A text and its language; empty where nobody said which."""

    value: str
    language: str = ""


def wanted(ui_locales: Iterable[str], accept_language: str) -> tuple[str, ...]:
    """Language ranges, the most wanted first: what the request asks for, then what the browser says (RFC 9110 §12.5.4)."""
    weighed: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:_RANGES]:
        language, _, parameter = part.partition(";")
        weight = parameter.strip().lower().removeprefix("q=")
        try:
            weighed.append((-float(weight or 1), language.strip().lower()))
        except ValueError:
            continue
    ranked = [language for weight, language in sorted(weighed, key=lambda one: one[0]) if weight < 0]
    asked = [language.lower() for language in ui_locales][:_RANGES]
    return tuple(dict.fromkeys(one for one in (*asked, *ranked) if one and one != "*"))


def choose(metadata: Mapping[str, Any], member: str, languages: Iterable[str]) -> Text | None:
    """A human-readable member in the language that fits best; as it stands without a language where none fits."""
    variants = {
        name.partition("#")[2].lower(): Text(value, name.partition("#")[2])
        for name, value in metadata.items()
        if name.startswith(f"{member}#") and isinstance(value, str)
    }
    for language in languages:
        if found := _matching(language, variants):
            return found
    plain = metadata.get(member)
    if isinstance(plain, str):
        return Text(plain)
    return next(iter(variants.values()), None)


def _matching(language: str, variants: Mapping[str, Text]) -> Text | None:
    if not variants:
        return None
    while language:
        if found := variants.get(language):
            return found
        # Who reads `pt` can read `pt-BR`; who asks for `de-CH` reads `de` before anything else.
        if found := next((text for tag, text in variants.items() if tag.startswith(f"{language}-")), None):
            return found
        language = language.rpartition("-")[0]
    return None
