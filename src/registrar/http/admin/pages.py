"""Pages of many things, each in the order of their names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

from registrar.domain.errors import ProtocolError
from registrar.http import answers
from registrar.http.admin.call import Call

PAGED: Final = ("limit", "after")
"""The parameters of a list."""
_Wanted = TypeVar("_Wanted")


def limit_of(call: Call) -> int:
    """How many things of a list are asked for.

    Raises:
        ProtocolError: `invalid_request`, saying what would be accepted.
    """
    said = call.query.get("limit", str(answers.PAGE))
    if not (said.isascii() and said.isdigit() and 1 <= int(said[:9]) <= answers.MOST):
        raise ProtocolError("invalid_request", f"limit is a number from 1 to {answers.MOST}.")
    return int(said)


async def page(call: Call, key: str, found: AsyncIterator[_Wanted]) -> tuple[list[_Wanted], str]:
    """Some of many things, in the order of their names, and the name after which the next page begins."""
    limit = limit_of(call)
    rows: list[_Wanted] = []
    async for row in found:
        rows.append(row)
        if len(rows) == limit:
            break
    return rows, _after(rows, key, limit)


def _after(rows: Sequence[object], key: str, limit: int) -> str:
    """Where the next page begins, where there may be one."""
    return str(getattr(rows[-1], key)) if len(rows) == limit else ""
