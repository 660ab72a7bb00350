"""The command line: `registrar`."""

from __future__ import annotations

from registrar.cli import templates  # noqa: F401  (with it, its commands are there)
from registrar.cli.commands import main

__all__ = ["main"]
