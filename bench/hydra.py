"""Ory Hydra beside the registrar, each on a PostgreSQL of its own: `bench/run.py --only pg-public hydra`.

It is built from the Go module proxy into var/peers, which takes some five minutes once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from servers import Ledger, Server, Site, cluster

VERSION = "v2.3.0"
PROGRAM = Path(__file__).parent.parent / "var" / "peers" / f"hydra-{VERSION}"


def install() -> None:
    """Build it when it is missing."""
    if PROGRAM.exists():
        return
    if not shutil.which("go"):
        sys.exit("bench: go is missing: install Go 1.22 or later and start again")
    source = PROGRAM.with_name(f"hydra-{VERSION}-source")
    found = subprocess.run(
        ["go", "mod", "download", "-json", f"github.com/ory/hydra/v2@{VERSION}"], check=True, capture_output=True
    )
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(json.loads(found.stdout)["Dir"], source)
    for path in (source, *source.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)  # the module cache is read-only
    # It replaces its client by a folder that its module does not carry.
    subprocess.run(["go", "mod", "edit", "-dropreplace", "github.com/ory/hydra-client-go/v2"], cwd=source, check=True)
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", "build", "-o", PROGRAM, "."], cwd=source, env=environment, check=True)
    shutil.rmtree(source)


def settings(site: Site) -> list[str]:
    """Its settings, by the environment."""
    return [
        "env",
        f"DSN={(site.folder / 'dsn').read_text()}",
        "SECRETS_SYSTEM=bench-secret-of-thirty-two-letters",
        f"URLS_SELF_ISSUER=http://127.0.0.1:{site.port}",
        "SERVE_PUBLIC_HOST=127.0.0.1",
        f"SERVE_PUBLIC_PORT={site.port}",
        "OIDC_DYNAMIC_CLIENT_REGISTRATION_ENABLED=true",
        "LOG_LEVEL=error",
        "SQA_OPT_OUT=true",
    ]


@contextlib.contextmanager
def database(site: Site) -> Iterator[Ledger | None]:
    """A PostgreSQL on the core of the load that commits durably, as the registrar's."""
    with cluster() as server:
        asyncio.run(server.execute("CREATE DATABASE hydra"))
        dsn = f"postgres://registrar:x@127.0.0.1:{server.port}/hydra?sslmode=disable"
        (site.folder / "dsn").write_text(dsn)
        migrate = [*settings(site), str(PROGRAM), "migrate", "sql", "-e", "--yes"]
        subprocess.run(migrate, check=True, capture_output=True)
        yield None


HYDRA = Server(
    command=lambda site: [*settings(site), str(PROGRAM), "serve", "public", "--dev"],
    ready="/health/ready",
    database=database,
    beside=True,
)
