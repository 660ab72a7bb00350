"""The command line: `registrar`."""

from __future__ import annotations

from registrar.cli.commands import main

__all__ = ["main"]
