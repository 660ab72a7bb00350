"""Strict TOML to settings, and `assemble()`: the one place that names concrete classes.

Nothing is guessed and nothing is ignored: an unknown key, a value of another type, a combination that would be unsafe
or could not work is refused before anything starts, naming the file and the line.

- `reading`: a configuration as a whole, from a file or made for development.
- `environment`: settings from variables, over those of the file.
- `tables`: settings from tables.
- `server`, `issuers`, `policies`: what must hold in each part, and between them.
- `key_file`: the key-encryption keys.
- `assembly`: everything that the use cases are given.
"""

from __future__ import annotations

from registrar.config.assembly import assemble
from registrar.config.configuration import Configuration
from registrar.config.key_file import create_key_file
from registrar.config.reading import closed, development, parse, read, read_policies
from registrar.policy.document import ConfigurationError

__all__ = [
    "Configuration",
    "ConfigurationError",
    "assemble",
    "closed",
    "create_key_file",
    "development",
    "parse",
    "read",
    "read_policies",
]
