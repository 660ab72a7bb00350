"""The command line: `registrar`."""

from __future__ import annotations

from registrar.cli import audit, bulk, documents, key_file, policies, reviews, statements, templates, upkeep, webhooks  # noqa: F401  (with them, their commands are there)
from registrar.cli.commands import main

__all__ = ["main"]
