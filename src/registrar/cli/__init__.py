"""The command line: `registrar`."""

from __future__ import annotations

from registrar.cli.commands import main

# With them their commands are there, in the order in which a newcomer meets them.
from registrar.cli import tokens, clients, keys, users, audit, bulk, key_file  # isort: skip  # noqa: F401
from registrar.cli import policies, reviews, statements, templates, upkeep, webhooks  # isort: skip  # noqa: F401

__all__ = ["main"]
