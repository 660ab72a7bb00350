"""What acts take: bodies of which every member is known, and what is said of one that is not as it should be."""

from __future__ import annotations

import enum
import re
from typing import Annotated, Any, Final, TypeVar, get_args

import msgspec

from registrar.domain.errors import ProtocolError
from registrar.domain.findings import shown
from registrar.http.admin.call import Call
from registrar.service import operators

LATEST: Final = 10**11
"""The last second that a request may name, some three thousand years from now."""

_MESSAGE_LENGTH: Final = 1_000
"""Characters of a message: enough for every list of what there is."""
_MESSAGE: Final = {ord('"'): "'", ord("\\"): "/"}
_Wanted = TypeVar("_Wanted")


Why = Annotated[str, msgspec.Meta(max_length=operators.REASON)]
"""A reason or another such text, of no more characters than an event holds of it."""


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; it goes into the audit."""

    reason: Why = ""
    """In the words of whoever acts."""


def read(call: Call, kind: type[_Wanted]) -> _Wanted:
    """The body as what a route takes.

    Raises:
        ProtocolError: `invalid_request`, saying what is wrong.
    """
    try:
        return msgspec.convert(call.body, kind)
    except msgspec.ValidationError as problem:
        raise not_taken(problem, kind) from None


def not_taken(problem: msgspec.ValidationError, kind: type) -> ProtocolError:
    """What is wrong with a body or a query, and what would be taken in its place where that is one of a few."""
    said = shown(sayable(problem))
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    at = re.search(r"`\$\.(\w+)`", said)
    accepted = _few(fields.get(at[1])) if at else [*fields] if "unknown field" in said else []
    return ProtocolError("invalid_request", f"{said}. Accepted: {', '.join(accepted)}." if accepted else said)


def _few(kind: Any) -> list[str]:
    """The values of a type that has only a few."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, enum.Enum):
            return [member.value for member in one]
    return [one for one in get_args(kind) if isinstance(one, str) and one]


def sayable(problem: Exception) -> str:
    """A message as an error may hold it (RFC 6749 §5.2); one that repeats a name of a path is cut off, as the audit has it."""
    text = str(problem)
    kept = text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}..."
    return kept.encode("ascii", "replace").decode("ascii").translate(_MESSAGE)
