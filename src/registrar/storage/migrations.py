"""The scripts that bring a schema forward, numbered alike for every database; a schema never goes back."""

from __future__ import annotations

from importlib import resources

from registrar.service.ports import StoreUnavailable


def scripts(database: str) -> list[str]:
    """The scripts of a database in their order; the schema that n of them have made has version n.

    Args:
        database: a folder of `schema/`.
    """
    folder = resources.files("registrar.storage") / "schema" / database
    return [entry.read_text("utf-8") for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)]


class SchemaMismatch(StoreUnavailable):
    """The schema is another program's; no trying again will change that."""


def newer(where: str, version: int, known: int) -> SchemaMismatch:
    """A schema that a newer program has made: this one would not know what it does to it."""
    return SchemaMismatch(f"{where} has schema {version}, and this program knows {known}: a newer program wrote it")


def older(where: str, version: int, known: int) -> SchemaMismatch:
    """A schema that waits to be brought forward."""
    return SchemaMismatch(f"{where} has schema {version}, and this program needs {known}: run `registrar migrate`")
