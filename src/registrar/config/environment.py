"""Settings from environment variables, over those of the file: `REGISTRAR_SERVER__PORT` is `port` of `[server]`.

A variable is the path of a setting in upper case, two underscores between the parts. As in the file, nothing is guessed
and nothing is ignored: a variable that names no setting keeps the server from starting.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from registrar.domain.settings import Mode, Settings
from registrar.policy.document import ConfigurationError, Document

PREFIX: Final = "REGISTRAR_"
_BETWEEN: Final = "__"
_FROM_FILE: Final = "_file"
_OTHERS: Final = frozenset({"REGISTRAR_INITIAL_ACCESS_TOKEN"})
"""Variables that are no settings."""
# What Kubernetes tells every container of a service that is called registrar, or registrar-anything.
_SERVICE: Final = re.compile(r"REGISTRAR(_\w+)?_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_URL: Final = re.compile(r"(tcp|udp|sctp)://\S+")

Place = tuple[str, ...]


class Overlaid(Document):
    """A document with the settings of variables in it; a refusal names the variable where it is about one.

    Args:
        document: what is written.
        environment: variables by name.

    Raises:
        ConfigurationError: a variable names no setting, or its value is none.
    """

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.where, self.text, self.data = document.where, document.text, copy.deepcopy(document.data)
        self._variables: dict[Place, str] = {}
        for name in sorted(filter(_is_ours, environment)):
            if _is_of_a_service(name, environment[name]):
                continue
            path, hint, from_file = _setting(name)
            if path in self._variables:
                raise _refused(name, f"says again what {self._variables[path]} says")
            text = _content(name, environment[name]) if from_file else environment[name]
            self._put(path, _value(name, hint, text), name)
            self._variables[path] = name

    def error(self, reason: str, *path: str) -> ConfigurationError:
        """An error about the key at `path`."""
        for length in range(len(path), 0, -1):
            if (name := self._variables.get(path[:length])) is not None:
                return _refused(name, reason)
        written = self.line(*path)
        for beside, name in self._variables.items():
            # Of a table that variables alone have made, one of them is named: that is where it comes from.
            if not written and len(path) > 1 and beside[: len(path) - 1] == path[:-1]:
                return _refused(name, reason)
        return super().error(reason, *path)

    def _put(self, path: Place, value: Any, name: str) -> None:
        table = self.data
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise _refused(name, f"is within {part}, which is no table in {self.where}")
        table[path[-1]] = value


def names_issuers(environment: Mapping[str, str]) -> bool:
    """Whether variables name an issuer: then nothing else needs to be written."""
    return any(name.startswith(f"{PREFIX}ISSUER{_BETWEEN}") for name in environment)


def variable(*path: str) -> str:
    """The variable of the setting at a path."""
    return PREFIX + _BETWEEN.join(path).upper()


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) and name not in _OTHERS


def _is_of_a_service(name: str, value: str) -> bool:
    return bool(_SERVICE.fullmatch(name)) or (name.endswith("_PORT") and bool(_SERVICE_URL.fullmatch(value)))


def _setting(name: str) -> tuple[Place, Any, bool]:
    """The path of the setting that a variable names, its type, and whether the variable names a file with the value."""
    parts = name.removeprefix(PREFIX).lower().split(_BETWEEN)
    kind: Any = Settings
    for at, part in enumerate(parts):
        path = tuple(parts[: at + 1])
        if typing.get_origin(kind) is dict:
            if not part:
                raise _refused(name, f"is {variable(*parts[:at], 'NAME')}; the name is missing")
            kind = typing.get_args(kind)[1]
            continue
        if not dataclasses.is_dataclass(kind):
            raise _refused(name, f"{variable(*parts[:at])} is a setting, and there is nothing within it")
        hints = _settings(kind)  # type: ignore[arg-type]  # a type, as every hint here is
        if part in hints:
            kind = hints[part]
        elif at and hints.get(short := part.removesuffix(_FROM_FILE)) is str and at == len(parts) - 1:
            return (*path[:-1], short), str, True
        else:
            raise _unknown(name, path, hints)
    return tuple(parts), kind, False


def _settings(kind: type[Any]) -> dict[str, Any]:
    """The settings of a dataclass with their types."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if "meaning" in field.metadata}


def _unknown(name: str, path: Place, hints: Mapping[str, Any]) -> ConfigurationError:
    if len(path) == 1 and path[0] in ("policy", "class", "rules"):
        return _refused(name, "policies, classes and rules are written in a file; name it with --config")
    if len(path) == 1 and any(path[0].startswith(f"{table}_") for table in hints):
        return _refused(
            name, f"is no setting; two underscores stand between the parts, as in {variable('server', 'port')}"
        )
    known = ", ".join(variable(*path[:-1], one) for one in sorted(hints))
    return _refused(name, f"is no setting; known are {known}")


def _value(name: str, hint: Any, text: str) -> Any:
    """A value: text as it stands, everything else as TOML has it."""
    if hint is str or (isinstance(hint, type) and issubclass(hint, enum.StrEnum)):
        return text
    if hint == tuple[Mode, ...] and not text.startswith("["):
        return text
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        read = {}
    if read.keys() != {"value"}:
        raise _refused(name, f"needs {_example(hint)}")
    return read["value"]


def _example(hint: Any) -> str:
    """What a value looks like."""
    if typing.get_origin(hint) is tuple:
        return 'a list as TOML has it, such as ["one", "two"]'
    if typing.get_origin(hint) is dict or dataclasses.is_dataclass(hint):
        return "a table as TOML has it, such as { name = 1 }"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, "a value as TOML has it")


def _content(name: str, file: str) -> str:
    try:
        return Path(file).read_text("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError, ValueError) as problem:
        raise _refused(name, f"names a file that cannot be read: {problem}") from None


def _refused(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"the environment variable {name}", 0, reason)
