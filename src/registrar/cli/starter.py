"""`registrar init`: a configuration to start from, and a key file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from registrar.cli.render import Failure
from registrar.config import create_key_file

_CONFIGURATION: Final = """\
# Registrar. Every setting is described in docs/reference/settings.md; what is not written here has its default.

[server]
host = "127.0.0.1"
port = 8000
database = "sqlite:///var/registrar.db"
key_file = "registrar.key"                     # keep it out of the database's backups

[issuer.main]
url = "http://127.0.0.1:8000"                  # https://your.host in production

[issuer.main.registration]
mode = "client"                                # disabled | open | client | user | ["client", "user"]
policy = "default"
"""


def write(folder: Path) -> list[Path]:
    """Write the files and give their paths; nothing that exists is overwritten.

    Raises:
        Failure: a file exists, or cannot be written.
    """
    configuration, keys = folder / "registrar.toml", folder / "registrar.key"
    for path in (configuration, keys):
        if path.exists():
            raise Failure(f"{path} exists; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        configuration.write_text(_CONFIGURATION, "utf-8")
        create_key_file(keys)
    except OSError as problem:
        raise Failure(str(problem)) from None
    return [configuration, keys]
