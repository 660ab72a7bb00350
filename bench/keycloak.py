"""Keycloak beside the registrar, each on a PostgreSQL of its own: `bench/run.py --only pg-public keycloak`.

It comes from Maven's repository into var/peers, and runs as its operators run it: built once, then started optimized.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from servers import Ledger, Server, Site, cluster, free_port

VERSION = "26.5.6"
PEERS = Path(__file__).parent.parent / "var" / "peers"
HOME = PEERS / f"keycloak-{VERSION}"
JAVA = [
    "java",
    *("-Xms64m", "-Xmx512m", "-XX:MetaspaceSize=96M", "-XX:MaxMetaspaceSize=256m"),
    *(
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Dfile.encoding=UTF-8",
        "-Duser.language=en",
        "-Duser.country=US",
    ),
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("util", "util.concurrent", "security")),
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    *("-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-Dpicocli.disable.closures=true"),
    *(f"-Dkc.home.dir={HOME}", f"-Djboss.server.config.dir={HOME / 'conf'}"),
    *("-cp", str(HOME / "lib" / "quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint"),
]
"""What its bin/kc.sh of this version runs. The script itself stays, as the parent of the server: the processor time and
the memory that are read would be the shell's, and the server would outlive a shell that is killed."""
START_SECONDS = 120
WARM_UP_SECONDS = 60
"""On one core the machine below it compiles for about that long: from 0 to some 90 registrations a second, measured."""
ANONYMOUS = "org.keycloak.services.clientregistration.policy.ClientRegistrationPolicy"
REALM = {
    "realm": "bench",
    "enabled": True,
    "sslRequired": "none",
    # Anybody may register, as with ours. Without any policy of its own it would give the realm those that let nobody in.
    "components": {ANONYMOUS: [{"name": "full scope disabled", "providerId": "scope", "subType": "anonymous"}]},
}


def install() -> None:
    """Fetch and build it when it is missing."""
    if HOME.exists():
        return
    for program in ("java", "mvn"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is missing: install Java 17 or later and Maven and start again")
    PEERS.mkdir(parents=True, exist_ok=True)
    artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
    subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={PEERS}"], check=True
    )
    packed = PEERS / f"keycloak-quarkus-dist-{VERSION}.zip"
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(PEERS)
    packed.unlink()
    program = HOME / "bin" / "kc.sh"
    program.chmod(0o755)
    try:
        subprocess.run([program, "build", "--db=postgres", "--health-enabled=true"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(HOME)  # or a half-built one would count as there
        raise


def command(site: Site) -> list[str]:
    """How it is started."""
    return [
        "env",
        f"KC_DB_URL={(site.folder / 'url').read_text()}",
        "KC_DB_USERNAME=registrar",
        "KC_DB_PASSWORD=x",
        *JAVA,
        "start",
        "--optimized",
        "--http-enabled=true",
        "--http-host=127.0.0.1",
        f"--http-port={site.port}",
        f"--http-management-port={(site.folder / 'management').read_text()}",
        "--hostname-strict=false",
        "--cache=local",
        "--log-level=error",
        "--import-realm",
    ]


@contextlib.contextmanager
def database(site: Site) -> Iterator[Ledger | None]:
    """A PostgreSQL on the core of the load that commits durably, as the registrar's."""
    imported = HOME / "data" / "import"
    imported.mkdir(parents=True, exist_ok=True)
    (imported / "bench-realm.json").write_text(json.dumps(REALM))
    with cluster() as server:
        asyncio.run(server.execute("CREATE DATABASE keycloak"))
        (site.folder / "url").write_text(f"jdbc:postgresql://127.0.0.1:{server.port}/keycloak")
        (site.folder / "management").write_text(str(free_port()))
        yield None


KEYCLOAK = Server(
    command=command,
    ready="/realms/bench/.well-known/openid-configuration",
    database=database,
    beside=True,
    start_seconds=START_SECONDS,
    warm_up_seconds=WARM_UP_SECONDS,
)
