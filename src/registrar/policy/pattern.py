"""Patterns that a policy may hold: regular expressions of which none can take long, whatever they are held against.

A policy is read once and applied to what strangers send. A pattern such as `(a+)+b` takes a second for thirty
characters and a century for sixty, so repetition inside repetition, and more than one repetition without an end, is
refused when the policy is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants as ops  # type: ignore[attr-defined]  # the only parser of these there is
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

LENGTH: Final = 200
"""Characters of a pattern at the most."""
_MOST: Final = 256
"""Repetitions of a part at the most, where it says a number."""
_REPEATS: Final = (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT)
_PLAIN: Final = (ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN, ops.AT, ops.CATEGORY, ops.RANGE, ops.NEGATE)


def compiled(text: str) -> re.Pattern[str]:
    """The pattern, to be matched whole.

    Raises:
        ValueError: it is no pattern, or one that may take long; the message says why.
    """
    if len(text) > LENGTH:
        raise ValueError(f"a pattern has at most {LENGTH} characters")
    try:
        tree = parser.parse(text)
    except (re.error, RecursionError, OverflowError) as problem:
        raise ValueError(f"is no pattern: {problem}") from None
    if _endless(tree, inside=False) > 1:
        raise ValueError("repeats without an end more than once, which can take very long; give numbers: {1,64}")
    return re.compile(text)


def _endless(tree: Iterable[tuple[Any, Any]], *, inside: bool) -> int:
    """How many repetitions without an end there are; those inside others, and what looks around, are refused."""
    count = 0
    for op, given in tree:
        if op in _REPEATS:
            _, most, part = given
            if inside and most != 1:
                raise ValueError("repeats what repeats already, which can take very long")
            if most != ops.MAXREPEAT and most > _MOST:
                raise ValueError(f"repeats more than {_MOST} times")
            count += (most == ops.MAXREPEAT) + _endless(part, inside=most != 1 or inside)
        elif op is ops.SUBPATTERN:
            count += _endless(given[-1], inside=inside)
        elif op is ops.BRANCH:
            count += sum(_endless(branch, inside=inside) for branch in given[1])
        elif op not in _PLAIN:
            raise ValueError(f"uses {str(op).lower()}, which is not allowed here")
    return count
