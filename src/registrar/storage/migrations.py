"""The scripts that bring a schema forward, numbered alike for every database; a schema never goes back."""

from __future__ import annotations

from importlib import resources
from typing import Final

from registrar.service.ports import StoreUnavailable

ADDS: Final = "-- adds:"
"""How a script begins that only adds: whoever does not know it reads and writes rightly all the same.

A new table that only newer programs need, an index, a column with a default that means what rows meant before. Anything
that an older program would have to write, or would write in another way, is more than an addition.
"""


def scripts(database: str) -> list[str]:
    """The scripts of a database in their order; the schema that n of them have made has version n.

    Args:
        database: a folder of `schema/`.
    """
    folder = resources.files("registrar.storage") / "schema" / database
    return [entry.read_text("utf-8") for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)]


def adds(script: str) -> bool:
    """Whether a program that does not know a script may go on where it has run."""
    return script.startswith(ADDS)


class SchemaMismatch(StoreUnavailable):
    """The schema is another program's; no trying again will change that."""


def newer(where: str, version: int, known: int) -> SchemaMismatch:
    """A schema that a newer program has made: this one would not know what it does to it."""
    return SchemaMismatch(f"{where} has schema {version}, and this program knows {known}: a newer program wrote it")


def older(where: str, version: int, known: int) -> SchemaMismatch:
    """A schema that waits to be brought forward."""
    return SchemaMismatch(f"{where} has schema {version}, and this program needs {known}: run `registrar migrate`")
