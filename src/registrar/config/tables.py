"""Settings from tables: a dataclass of `domain.settings` from a table of the same shape, and nothing guessed."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import typing
from typing import Any, Final

from registrar.domain.settings import Mode
from registrar.policy.document import Document

NAME: Final = re.compile(r"[a-z][a-z0-9_\-]{0,31}")


def built(kind: type[Any], table: Any, document: Document, path: tuple[str, ...], **given: Any) -> Any:
    """A settings dataclass from a table of the same shape."""
    if not isinstance(table, dict):
        raise document.error("needs to be a table", *path)
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(table) - known):
        raise document.error(
            f"unknown setting {unknown[0]}; known are {', '.join(sorted(known - set(given)))}", *path, unknown[0]
        )
    for key, value in table.items():
        given[key] = _value(hints[key], value, document, (*path, key))
    return kind(**given)


def _value(hint: Any, value: Any, document: Document, path: tuple[str, ...]) -> Any:
    if hint is Any:  # judged where it is used
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return built(hint, value, document, path)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise document.error("needs to be a table", *path)
        kind = typing.get_args(hint)[1]
        return {name: _value(kind, one, document, (*path, name)) for name, one in value.items()}
    if hint == tuple[Mode, ...]:
        return _modes(value, document, path)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        if value not in tuple(hint):
            raise document.error(f"is one of {', '.join(hint)}", *path)
        return hint(value)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise document.error("needs a list of strings", *path)
        return tuple(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):  # TOML has inf and nan
        raise document.error(f"needs {_SPOKEN[hint]}", *path)
    return value


_SPOKEN: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _modes(value: Any, document: Document, path: tuple[str, ...]) -> tuple[Mode, ...]:
    if value == "disabled":
        return ()
    if isinstance(value, str) and value in tuple(Mode):
        return (Mode(value),)
    if isinstance(value, list) and value and set(value) <= {Mode.CLIENT, Mode.USER}:
        return tuple(Mode(item) for item in value)
    raise document.error('is "disabled", "open", "client", "user" or ["client", "user"]', *path)
