"""A TOML document that knows on which line each key stands, so that a refusal to start can say where to look."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

_HEADER: Final = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.\-\"']+)\s*=")


class ConfigurationError(Exception):
    """A configuration that is not taken, with the file and the line.

    Args:
        where: the file's name.
        line: the line, from 1; 0 where the whole file is meant.
        reason: what is wrong and what would be right.
    """

    def __init__(self, where: str, line: int, reason: str) -> None:
        self.where, self.line, self.reason = where, line, reason
        super().__init__(f"{where}:{line}: {reason}" if line else f"{where}: {reason}")


class Document:
    """Parsed TOML with its text.

    Raises:
        ConfigurationError: the text is not TOML.
    """

    def __init__(self, where: str, text: str) -> None:
        self.where, self.text = where, text
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as problem:
            found = re.search(r"line (\d+)", str(problem))
            line = int(found[1]) if found else len(text.splitlines())  # "at end of document"
            raise ConfigurationError(where, line, str(problem)) from None

    def line(self, *path: str) -> int:
        """The line of a key, or of the nearest table above it that the text names; 0 where nothing is found."""
        table: tuple[str, ...] = ()
        best, depth = 0, 0
        for number, text in enumerate(self.text.splitlines(), 1):
            if header := _HEADER.match(text):
                here = table = _path(header[1])
            elif key := _KEY.match(text):
                here = (*table, *_path(key[1]))
            else:
                continue
            shared = here[: len(path)]  # [issuer.main.template] is where issuer.main is, too
            if len(shared) > depth and path[: len(shared)] == shared:
                best, depth = number, len(shared)
        return best

    def error(self, reason: str, *path: str) -> ConfigurationError:
        """An error about the key at `path`."""
        return ConfigurationError(self.where, self.line(*path), reason)


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
