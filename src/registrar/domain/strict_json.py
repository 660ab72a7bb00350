"""JSON as it must be where it comes from a stranger: one object, in one reading (RFC 8259).

Parsers disagree on a member that stands twice, on numbers out of range and on text that is not text, and that is how
one of two programs is fooled. So all of these are refused, wherever JSON comes from: a body, a token, a fetched document.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

import msgspec

NESTED: Final = 256
"""Arrays and objects that a document may hold unless the caller says otherwise; a bomb of brackets stays harmless."""

_NUMBER_DIGITS: Final = 64
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class NotStrict(ValueError):  # noqa: N818 (a state of the document, not a mistake of the caller)
    """What is wrong with a document, as the predicate of a sentence whose subject is `it`."""


def read_object(body: bytes, *, nested: int = NESTED) -> dict[str, Any]:
    """One JSON object, strictly: UTF-8, no duplicate member at any depth, bounded nesting, finite numbers.

    Args:
        body: the bytes.
        nested: arrays and objects that it may hold.

    Raises:
        NotStrict: saying what is wrong.
    """
    if (plain := _read_plain(body, nested)) is not None:
        return plain
    if body.count(b"[") + body.count(b"{") > nested:
        raise NotStrict(f"it holds more than {nested} arrays and objects")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrict("it is not UTF-8") from None
    try:
        value = _decoder.decode(text)
    except _DuplicateError as duplicate:
        raise NotStrict(f"the member {duplicate} stands in it twice") from None
    except (ValueError, RecursionError):
        raise NotStrict("it is not JSON") from None
    if type(value) is not dict:
        raise NotStrict("it is not an object")
    if "\\u" in text and _has_surrogate(value):
        raise NotStrict("it holds half of a surrogate pair, which is not text")
    return value


def _read_plain(body: bytes, nested: int) -> dict[str, Any] | None:
    """A flat object without escapes, the common case, read at a quarter of the cost; None for everything else.

    Where no backslash stands, a quote is never part of a string, and where no white space stands before a colon, each
    member's name ends in `":`. So as many of these as members means that no member stands twice.
    """
    if body.count(b"{") != 1 or body.count(b"[") > nested or any(map(body.__contains__, _NOT_PLAIN)):
        return None
    try:
        value = _decode_plain(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if len(value) != body.count(b'":') or (_has_number(value) and _LONG_NUMBER.search(body)):
        return None
    return value


_LONG_NUMBER: Final = re.compile(rb"[0-9]{%d}" % (_NUMBER_DIGITS + 1))
_NOT_PLAIN: Final = (b"\\", b" :", b"\t:", b"\n:", b"\r:")


def _has_number(value: dict[str, Any]) -> bool:
    return not {*map(type, value.values())}.isdisjoint((int, float, list))


_decode_plain: Final = msgspec.json.Decoder(dict[str, Any]).decode


class _DuplicateError(ValueError):
    """A member that stands twice: parsers disagree on which one counts, and that is how they are fooled."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        raise _DuplicateError(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]  # None is what is wanted
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(name)


def _integer(digits: str) -> int:
    if len(digits) > _NUMBER_DIGITS:
        raise ValueError("too many digits")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # it would be written back as null
        raise ValueError("not finite")
    return number


def _has_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(_has_surrogate(name) or _has_surrogate(item) for name, item in value.items())
    return isinstance(value, list) and any(_has_surrogate(item) for item in value)


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_number
)
