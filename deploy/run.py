"""Runs what stands in deploy/ as the page on deploying says: `make deploy-run`.

It builds the image, runs it alone, and runs the compose file under the name `registrar-run`: registers through the
proxy, kills a replica under load, replaces one after the other, stops and starts everything, and restores a backup. What
was answered has to be there each time. It needs an engine that Docker's client reaches, the ports 80 and 443, the
subnet of the compose file, and the images that are named there: from their registries, or from `deploy/bases.py`.
What is given to it is given to `docker build`. All but the images is taken away in the end.
"""
# ruff: noqa: INP001, T201, S603, S607  (a script beside the files that it reads; it talks; what it runs is written here)
# ruff: noqa: TID251  (it calls as anybody's client, with what every Python has)

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from check import TOOLS, expressions, install, tool

HERE: Final = Path(__file__).parent
[BASE] = re.findall(r"^ARG BASE=(\S+)", (HERE / "Containerfile").read_text("utf-8"), re.MULTILINE)
CALLERS: Final = 4
OPEN: Final = 120
"""How many registrations of one address pass in a minute, where nothing else is set."""
MEGABYTES: Final = 150
REPLICAS: Final = ("registrar-1", "registrar-2")
CLIENT: Final = json.dumps({"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"})
HARDENED: Final = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true")  # noqa: S108 (a path in the container)
ENVIRONMENT: Final = {
    "DATABASE_PASSWORD": secrets.token_hex(16),
    "LIMITS_DATABASE": "redis://valkey:6379/0",
    "MODE": "client",
    "PUBLIC_HOST": "localhost",
}


def run(*command: str | Path, given: bytes | None = None) -> bytes:
    """What a command prints; what it says beside is told where it fails."""
    ran = subprocess.run(command, input=given, capture_output=True, env=os.environ | ENVIRONMENT, check=False)
    if ran.returncode:
        said = (ran.stdout[-2000:] + ran.stderr[-2000:]).decode(errors="replace")
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {ran.returncode}\n{said}")
    return ran.stdout


def docker(*arguments: str | Path) -> str:
    """What Docker's client prints."""
    return run("docker", *arguments).decode().strip()


def compose(*arguments: str, given: bytes | None = None) -> bytes:
    """What Compose prints, of a project of our own: nobody's volumes are touched."""
    found = tool("docker-compose")
    if found is None:
        raise AssertionError("there is no docker-compose")
    own = ("--project-name", "registrar-run", "--file", HERE / "compose.yaml", "--profile", "rates")
    return run(found, *own, *arguments, given=given)


def registrar(*arguments: str) -> bytes:
    """What a command prints that is given in a replica."""
    return compose("exec", "--no-TTY", "registrar-1", "registrar", *arguments)


def state(container: str) -> dict[str, Any]:
    """What the engine knows of a container."""
    [found] = json.loads(docker("inspect", container))
    known: dict[str, Any] = found["State"]
    return known


def expect(told: str, *, holds: bool) -> None:
    """Say what holds, and stop at what does not."""
    if not holds:
        raise AssertionError(told)
    print(f"ok: {told}", flush=True)


# --- the image --------------------------------------------------------------------------------------------------------


def image() -> None:
    """It is built, has nothing in it that is not the program, and runs with nothing to write to."""
    docker("build", "--file", HERE / "Containerfile", "--tag", "registrar", *sys.argv[1:], HERE.parent)
    [built] = json.loads(docker("image", "inspect", "registrar"))
    [base] = json.loads(docker("image", "inspect", BASE))
    own = (built["Size"] - base["Size"]) / 1e6
    expect(f"the image has {own:.0f} MB on top of its base's {base['Size'] / 1e6:.0f}", holds=own < MEGABYTES)
    expect("its user is not root", holds=built["Config"]["User"] == "10001:10001")
    holder = docker("create", "registrar")
    try:
        with tempfile.TemporaryFile() as whole:
            subprocess.run(["docker", "export", holder], stdout=whole, check=True)
            whole.seek(0)
            with tarfile.open(fileobj=whole) as files:
                names = [one.name for one in files if one.isfile()]
    finally:
        docker("rm", holder)
    ours = [name for name in names if name.startswith(("opt/registrar/", "var/lib/registrar/", "keys/", "src/"))]
    private = [name for name in ours if re.search(r"\.key$|\.db$|\.env$|/\.git/|registrar\.toml$", name)]
    expect(f"none of its {len(ours)} files is a key, a database or a configuration", holds=bool(ours) and not private)
    said = json.dumps(built["Config"]["Env"]) + docker("history", "--no-trunc", "registrar")
    expect("no layer names a secret", holds=not re.search(r"(?i)password|secret|postgresql://\S+@", said))


def alone() -> None:
    """It becomes well without rights, writes only where it may, and stops in order."""
    issuer = ("REGISTRAR_ISSUER__MAIN__URL=http://127.0.0.1:8000", "REGISTRAR_ISSUER__MAIN__REGISTRATION__MODE=open")
    place = "REGISTRAR_SERVER__DATABASE=sqlite:////var/lib/registrar/registrar.db"
    named = [word for one in (*issuer, place) for word in ("--env", one)]
    folder = ("--tmpfs", "/var/lib/registrar:uid=10001,gid=10001,mode=0700")
    began = time.monotonic()
    container = docker("run", "--detach", *HARDENED, *folder, *named, "registrar")
    try:
        while state(container)["Health"]["Status"] == "starting" and time.monotonic() < began + 60:
            time.sleep(0.1)
        expect("it is healthy with a file system to read", holds=state(container)["Health"]["Status"] == "healthy")
        call = f"from urllib.request import Request, urlopen; print(urlopen(Request('http://127.0.0.1:8000/register', {CLIENT.encode()!r}, {{'Content-Type': 'application/json'}})).status)"
        expect("it registers", holds=docker("exec", container, "python", "-c", call) == "201")
        began = time.monotonic()
        docker("stop", "--time", "30", container)
        expect(
            f"SIGTERM ends it with 0 after {time.monotonic() - began:.1f} s", holds=state(container)["ExitCode"] == 0
        )
    finally:
        docker("rm", "--force", "--volumes", container)


# --- the stack --------------------------------------------------------------------------------------------------------


class Callers:
    """They register one client after the other through the proxy, and remember what they were answered."""

    def __init__(self, token: str, root: str) -> None:
        self.trusted = ssl.create_default_context(cadata=root)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.registered: list[dict[str, Any]] = []
        self.otherwise: Counter[str] = Counter()

    def connection(self) -> http.client.HTTPSConnection:
        """A connection to the proxy."""
        return http.client.HTTPSConnection("localhost", 443, timeout=20, context=self.trusted)

    def _call(self, over: threading.Event) -> None:
        connection = self.connection()
        while not over.is_set():
            try:
                connection.request("POST", "/register", CLIENT, self.headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.otherwise[type(error).__name__] += 1
                connection.close()
                continue
            if answer.status == http.HTTPStatus.CREATED:
                self.registered.append(json.loads(content))
            else:
                self.otherwise[str(answer.status)] += 1
            time.sleep(0.02)
        connection.close()

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """While this lasts, all of them call."""
        self.otherwise.clear()
        over = threading.Event()
        threads = [threading.Thread(target=self._call, args=(over,)) for _ in range(CALLERS)]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            over.set()
            for one in threads:
                one.join()

    def missing(self) -> int:
        """How many of those who were told that they are registered cannot read it."""
        connection = self.connection()
        missing = 0
        for one in self.registered:
            bearer = {"Authorization": f"Bearer {one['registration_access_token']}"}
            connection.request("GET", one["registration_client_uri"].removeprefix("https://localhost"), headers=bearer)
            answer = connection.getresponse()
            missing += json.loads(answer.read()).get("client_id") != one["client_id"]
        connection.close()
        return missing


def up(*arguments: str) -> None:
    """Start what does not run, and wait until it is well."""
    compose("up", "--detach", "--wait", "--no-build", *arguments)


def stack() -> None:
    """The compose file, from its first start to a backup that is restored."""
    up()
    token = json.loads(registrar("token", "issue", "--json", "--uses", "0", "--label", "onboarding"))["token"]
    root = compose("exec", "--no-TTY", "proxy", "cat", "/data/caddy/pki/authorities/local/root.crt").decode()
    callers = Callers(token, root)

    with callers.calling():
        time.sleep(3)
    expect(
        f"{len(callers.registered)} clients register through the proxy",
        holds=not callers.otherwise and len(callers.registered) > CALLERS,
    )
    watched()

    with callers.calling():
        time.sleep(1)
        compose("kill", "--signal", "KILL", "registrar-2")
        time.sleep(4)
    broken = sum(callers.otherwise.values())
    expect(
        f"a replica that is killed costs {broken} answers ({dict(callers.otherwise)})",
        holds=callers.otherwise.keys() <= {"502", "503"} and broken <= CALLERS,
    )
    expect("and nobody who was told of a registration", holds=callers.missing() == 0)
    up()

    # As a new program is brought in: first the schema, then one replica after the other.
    compose("run", "--rm", "--no-deps", "migrate")
    with callers.calling():
        for replica in REPLICAS:
            up("--no-deps", "--force-recreate", replica)
    expect("replacing one after the other costs nobody an answer", holds=not callers.otherwise)

    compose("stop")
    for replica in REPLICAS:
        [container] = compose("ps", "--all", "--quiet", replica).decode().split()
        expect(f"{replica} stops in order", holds=state(container)["ExitCode"] == 0)
    up()
    expect(f"all {len(callers.registered)} clients are there when it starts again", holds=callers.missing() == 0)
    restored(callers)
    shared(callers)


def fetched(address: str) -> str:
    """What is told at an address inside, as a replica reaches it."""
    call = f"from urllib.request import urlopen; print(urlopen({address!r}, timeout=5).read().decode())"
    return compose("exec", "--no-TTY", "registrar-1", "python", "-c", call).decode()


def asked(kind: str, expression: str = "") -> Any:
    """What Prometheus answers."""
    return json.loads(fetched(f"http://prometheus:9090/api/v1/{kind}?{urlencode({'query': expression})}"))["data"]


def watched() -> None:
    """Every metric that the dashboard names is told, and Prometheus finds both replicas and reads every expression."""
    series = {one for each in expressions() for one in re.findall(r"\b(?:registrar|process)_[a-z_]+", each)}
    known = set(re.findall(r"^# TYPE (\S+)", fetched("http://127.0.0.1:9464/metrics"), re.MULTILINE))
    missing = {one for one in series if not known & {one, re.sub(r"_(bucket|sum|count)$", "", one)}}
    expect(f"a replica tells {len(series)} metrics of the dashboard, all but {sorted(missing)}", holds=not missing)
    up("prometheus")
    until = time.monotonic() + 60
    while len(targets := [one for one in asked("query", "up")["result"] if one["value"][1] == "1"]) < len(REPLICAS):
        if time.monotonic() > until:
            break
        time.sleep(1)
    expect(f"Prometheus finds {len(targets)} replicas", holds=len(targets) == len(REPLICAS))
    results = [asked("query", one)["result"] for one in expressions()]
    expect(f"and reads {len(results)} expressions, {sum(map(bool, results))} with data", holds=any(results))
    alerts = [one["name"] for group in asked("rules")["groups"] for one in group["rules"]]
    expect(f"and {len(alerts)} alerts", holds="RegistrarNotReady" in alerts)


def shared(callers: Callers) -> None:
    """Where registration is open, the replicas count those of an address together, in Valkey."""
    ENVIRONMENT["MODE"] = "open"
    up(*REPLICAS)
    answers: Counter[int] = Counter()
    connection = callers.connection()
    for _ in range(OPEN + 10):
        connection.request("POST", "/register", CLIENT, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        answers[answer.status] += 1
    connection.close()
    counted = int(compose("exec", "--no-TTY", "valkey", "valkey-cli", "dbsize"))
    # More pass where Valkey is slower than a replica waits for it, which is no mistake of the deployment's.
    told = f"of {OPEN + 10} in a minute, two replicas let {answers[201]} through; the rate is {OPEN}"
    expect(f"{told}, and Valkey has {counted} counters", holds=counted > 0)


def restored(callers: Callers) -> None:
    """A backup of the running database, in another one: the audit verifies, with a checkpoint from before."""
    kept = registrar("audit", "checkpoint")
    inside = ("exec", "--no-TTY", "database")
    own = ("--username", "registrar")
    dump = compose(*inside, "pg_dump", *own, "--format=custom", "registrar")
    compose(*inside, "createdb", *own, "restored")
    compose(*inside, "pg_restore", *own, "--exit-on-error", "--dbname=restored", given=dump)
    address = f"postgresql://registrar:{ENVIRONMENT['DATABASE_PASSWORD']}@database/restored"
    there = ("run", "--rm", "--no-deps", "--no-TTY", "--env", f"REGISTRAR_SERVER__DATABASE={address}", "registrar-1")
    compose(*there, "migrate")
    said = compose(*there, "audit", "verify", "--checkpoint", "-", given=kept).decode()
    expect("the audit of a restored backup is as it was written", holds="everything is as it was written" in said)
    listed = map(json.loads, compose(*there, "client", "export").splitlines())
    told = {one["client_id"] for one in callers.registered}
    expect(f"and has all {len(told)} clients", holds=told <= {one["client_id"] for one in listed})


def main() -> int:
    """Run everything, and take it away."""
    if shutil.which("docker") is None:
        print("not run: there is no docker")
        return 1
    TOOLS.mkdir(parents=True, exist_ok=True)
    install()
    try:
        image()
        alone()
        stack()
    except AssertionError as wrong:
        print(f"WRONG: {wrong}")
        return 1
    finally:
        with contextlib.suppress(AssertionError):
            compose("--profile", "monitoring", "down", "--volumes", "--remove-orphans", "--timeout", "30")
    return 0


if __name__ == "__main__":
    sys.exit(main())
