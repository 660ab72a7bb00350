"""What stands under the members of a class, for documents: Python keeps the docstring of a class, and not these."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise


def of_members(kind: type) -> Mapping[str, str]:
    """Member -> what is written under it, those of its bases too; empty where the program comes without its source."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        found |= _of_module(one.__module__).get(one.__qualname__, {})
    return found


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Class -> member -> what is written under it."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError):  # of the interpreter's own, or packed without sources
        return {}
    return {one.name: dict(_of_body(one.body)) for one in tree.body if isinstance(one, ast.ClassDef)}


def _of_body(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for one, below in pairwise(body):
        match one, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, " ".join(text.split())
