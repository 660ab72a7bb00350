"""Patterns that a policy may hold: regular expressions of which none can take long, whatever they are held against.

A policy is read once and applied to what strangers send. A pattern such as `(a+)+b` takes a second for thirty
characters and a century for sixty, and `a{1,99}a{1,99}a{1,99}a{1,99}b` is little better. So it is counted, when the
policy is loaded, in how many ways a pattern can be tried on the longest text that there may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants as ops  # type: ignore[attr-defined]  # the only parser of these there is
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

LENGTH: Final = 200
"""Characters of a pattern at the most."""
WAYS: Final = 300_000
"""Ways in which a pattern may be tried, which is some milliseconds."""
_TEXT: Final = 2048
"""Characters of what it is held against at the most."""
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
    if _ways(tree) > WAYS:
        raise ValueError(
            "has too many repetitions of which the length is open, which can take very long; give numbers: {1,64}"
        )
    return re.compile(text)


def _ways(tree: Iterable[tuple[Any, Any]]) -> int:
    """In how many ways a text could be divided among the parts of a pattern, at the most.

    Raises:
        ValueError: a repetition of what can itself be tried in several ways, or something that looks around.
    """
    ways = 1
    for op, given in tree:
        if op in _REPEATS:
            ways *= _repeated(*given)
        elif op is ops.SUBPATTERN:
            ways *= _ways(given[-1])
        elif op is ops.BRANCH:
            ways *= sum(map(_ways, given[1]))
        elif op not in _PLAIN:
            raise ValueError(f"uses {str(op).lower()}, which is not allowed here")
    return ways


def _repeated(least: Any, most: Any, part: Any) -> int:
    inside = _ways(part)
    if most == ops.MAXREPEAT:
        most = _TEXT
    elif most > _MOST:
        raise ValueError(f"repeats more than {_MOST} times")
    if most > 1 and inside > 1:
        raise ValueError("repeats what repeats or chooses already, which can take very long")
    return int(inside + most - least)
