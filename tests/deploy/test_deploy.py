"""What stands in deploy/: each setting, port, path, metric and label that it names is one of the program's."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
import yaml

from registrar.config import Configuration, assemble, closed, create_key_file, parse
from registrar.config.environment import Overlaid, _setting
from registrar.domain.errors import ERRORS
from registrar.domain.events import EVENTS
from registrar.domain.findings import Verdict
from registrar.domain.metrics import METRICS
from registrar.http.application import routes
from registrar.http.server import FINISH_SECONDS
from registrar.policy.document import Document
from tied import tied

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
FILES: Final = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".py")
# Those of prometheus-client that a process on Linux has.
OF_THE_PROCESS: Final = frozenset({"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"})


def read(name: str) -> str:
    """A file of deploy/."""
    return (DEPLOY / name).read_text("utf-8")


def manifests() -> dict[str, dict[str, Any]]:
    """The Kubernetes manifests, by kind and name."""
    found = [
        one for path in (DEPLOY / "kubernetes").glob("*.yaml") for one in yaml.safe_load_all(path.read_text("utf-8"))
    ]
    return {f"{one['kind']}/{one.get('metadata', {}).get('name', '')}": one for one in found}


def compose() -> dict[str, Any]:
    """The compose file, with its variables filled in."""
    given = {"DATABASE_PASSWORD": "password"}

    def fill(found: re.Match[str]) -> str:
        name, _, otherwise = found[1].partition(":")
        return given.get(name) or otherwise.removeprefix("-")

    whole: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{([^}]*)\}", fill, read("compose.yaml")))
    return whole


def of_compose() -> dict[str, str]:
    """The environment of its replicas."""
    return dict(compose()["services"]["registrar-1"]["environment"])


def of_container() -> dict[str, str]:
    """The settings that the image comes with."""
    return dict(re.findall(r"^\s+(REGISTRAR_\w+)=(\S+?)(?: \\)?$", read("Containerfile"), re.MULTILINE))


def of_systemd() -> dict[str, str]:
    """The environment of the unit."""
    return dict(line.split("=", 1) for line in read("systemd/registrar.env").splitlines() if not line.startswith("#"))


def in_kubernetes() -> Configuration:
    """The configuration of a pod."""
    text = manifests()["ConfigMap/registrar"]["data"]["registrar.toml"]
    container = manifests()["Deployment/registrar"]["spec"]["template"]["spec"]["containers"][0]
    secret = manifests()["Secret/registrar"]["stringData"]
    environment = {one["name"]: secret[one["valueFrom"]["secretKeyRef"]["key"]] for one in container["env"]}
    return parse(Overlaid(Document("registrar.toml", text), of_container() | environment))


def test_every_setting_that_is_named_exists() -> None:
    """A setting that is renamed takes its deployment with it."""
    named = {
        (path.name, name) for path in FILES for name in re.findall(r"\bREGISTRAR_[A-Z0-9_]+", path.read_text("utf-8"))
    }

    assert len(named) > 10
    for _, name in named:
        _setting(name)


def test_each_deployment_is_a_configuration() -> None:
    """It loads as a whole, and what has to hold between settings holds."""
    composed = closed(8000, of_container() | of_compose()).settings
    assert composed.server.trusted_proxies == ("172.30.0.2",)
    assert composed.server.database == "postgresql://registrar:password@database/registrar"
    assert composed.issuer["main"].url == "https://localhost"

    assert in_kubernetes().settings.server.log.request_ids

    alone = closed(8000, of_systemd() | {"REGISTRAR_ISSUER__MAIN__URL": "https://as.example"}).settings
    assert alone.server.database == closed(8000, {}).settings.server.database, "commands would look for another one"


def test_ports_and_paths_fit() -> None:
    """Probes, services, the proxy and Prometheus ask where somebody answers."""
    server = in_kubernetes().settings.server
    found = manifests()
    pod = found["Deployment/registrar"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"http": server.port, "metrics": server.metrics.port}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert (asked["path"], asked["port"]) in {("/healthz", "http"), ("/readyz", "http")}
    for name in ("Service/registrar", "Service/registrar-metrics"):
        assert {one["targetPort"] for one in found[name]["spec"]["ports"]} <= ports.keys()
    assert {rule["ports"][0]["port"] for rule in found["NetworkPolicy/registrar"]["spec"]["ingress"]} == {
        *ports.values()
    }
    assert server.key_file in {f"{one['mountPath']}/registrar.key" for one in container["volumeMounts"]}

    environment = of_compose()
    [prometheus] = yaml.safe_load(read("prometheus/prometheus.yaml"))["scrape_configs"]
    assert prometheus["dns_sd_configs"][0]["port"] == int(environment["REGISTRAR_SERVER__METRICS__PORT"])
    replicas = {name for name, one in compose()["services"].items() if one.get("command") == ["serve"]}
    [upstreams] = re.findall(r"^\s*to (.+)$", read("compose/Caddyfile"), re.MULTILINE)
    assert set(upstreams.split()) == {f"{name}:{server.port}" for name in replicas}
    assert replicas <= compose()["services"]["proxy"]["depends_on"].keys()
    assert re.search(r"^\s*health_uri /readyz$", read("compose/Caddyfile"), re.MULTILINE)
    assert f"127.0.0.1:{server.port}/healthz" in read("Containerfile")
    [address] = json.loads(environment["REGISTRAR_SERVER__TRUSTED_PROXIES"])
    assert compose()["services"]["proxy"]["networks"]["inside"]["ipv4_address"] == address


def test_containers_of_the_compose_file_reach_what_they_need() -> None:
    """Nothing is fetched on a network that leads nowhere, and nobody steps down who may not."""
    whole = compose()
    for name, one in whole["services"].items():
        if one.get("command") == ["serve"]:
            assert [each for each in one["networks"] if not (whole["networks"][each] or {}).get("internal")], name
    # While the image makes the database, another server answers at the socket.
    assert "--host" in whole["services"]["database"]["healthcheck"]["test"]
    # Its image begins as root and steps down, which takes a capability that it has not.
    assert whole["services"]["valkey"]["user"] == "valkey"
    example = read("compose/example.env")
    [shared] = re.findall(r"^# LIMITS_DATABASE=(.+)$", example, re.MULTILINE)
    assert urlsplit(shared).hostname in whole["services"]
    assert of_compose()["REGISTRAR_SERVER__LIMITS_DATABASE"] == "", "Valkey is asked without its profile"


def test_the_image_is_built_of_its_base_alone(tmp_path: Path) -> None:
    """A line that names a syntax is an image more to be had, for nothing; and what is called knows how it is called."""
    text = read("Containerfile")
    [options] = re.findall(r"-m compileall (.*?) /opt", text)
    subprocess.run([sys.executable, "-m", "compileall", *options.split(), tmp_path], check=True)
    assert not text.startswith("# syntax")
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}


def test_the_password_is_in_no_commit() -> None:
    """Where the page says to write it, the repository does not look."""
    assert "/deploy/.env" in (DEPLOY.parent / ".gitignore").read_text("utf-8").splitlines()


def test_who_stops_is_given_the_time() -> None:
    """To drain, and then to finish within twenty seconds; and nobody is killed meanwhile. The proxy notices in time."""
    pod = manifests()["Deployment/registrar"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > in_kubernetes().settings.server.drain_seconds + FINISH_SECONDS
    composed = closed(8000, of_container() | of_compose()).settings.server
    for one in compose()["services"].values():
        if one.get("command") == ["serve"]:
            assert int(one["stop_grace_period"].removesuffix("s")) > composed.drain_seconds + FINISH_SECONDS
    [interval] = re.findall(r"health_interval (\d+)s", read("compose/Caddyfile"))
    assert composed.drain_seconds >= 3 * int(interval)
    unit = dict(re.findall(r"^(\w+)=(.*)$", read("systemd/registrar.service"), re.MULTILINE))
    # Without TLS at the listener, a reload ends the server, and systemd takes that signal for a wish.
    assert unit["ExecReload"].startswith("/bin/kill -HUP")
    assert unit["RestartForceExitStatus"] == "SIGHUP"
    alone = closed(8000, of_systemd() | {"REGISTRAR_ISSUER__MAIN__URL": "https://as.example"}).settings.server
    assert int(unit["TimeoutStopSec"].removesuffix("s")) > alone.drain_seconds + FINISH_SECONDS


def test_selectors_find_the_pods() -> None:
    """What is said of the server is said of its pods, the migration's too where it is meant."""
    found = manifests()
    labels = found["Deployment/registrar"]["spec"]["template"]["metadata"]["labels"]
    for name in ("Deployment/registrar", "PodDisruptionBudget/registrar"):
        assert found[name]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for name in ("Service/registrar", "Service/registrar-metrics"):
        assert found[name]["spec"]["selector"].items() <= labels.items()
    contained = found["NetworkPolicy/registrar"]["spec"]["podSelector"]["matchLabels"].items()
    migrating = found["Job/registrar-migrate"]["spec"]["template"]["metadata"]["labels"]
    assert contained <= labels.items()
    assert contained <= migrating.items()
    server = found["Service/registrar"]["spec"]["selector"].items()
    assert not server <= migrating.items(), "requests would go to the migration"


@pytest.mark.parametrize("name", ["Deployment/registrar", "Job/registrar-migrate"])
def test_containers_may_do_nothing_else(name: str) -> None:
    """No root, nothing to write but what is theirs, no capabilities, no token of the cluster."""
    pod = manifests()[name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}:" in read("Containerfile")
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_the_kustomization_has_every_manifest_or_leaves_it_out_by_name() -> None:
    """None is forgotten."""
    whole = yaml.safe_load(read("kubernetes/kustomization.yaml"))
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}

    assert set(whole["resources"]) <= files
    assert files - set(whole["resources"]) == {
        "horizontalpodautoscaler.yaml",
        "secret.example.yaml",
        "servicemonitor.yaml",
    }


# --- metrics ----------------------------------------------------------------------------------------------------------

NAME: Final = re.compile(r"\b((?:registrar|process|python)_[a-z_]+)(\{[^}]*\})?")
LABEL: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def expressions() -> Iterator[str]:
    """Every expression of the rules and of the dashboard."""
    for group in yaml.safe_load(read("prometheus/rules.yaml"))["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads(read("grafana/registrar.json"))["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def metric(name: str) -> str:
    """The row that a series is of."""
    for end in ("_bucket", "_sum", "_count"):
        if name.removesuffix(end) in METRICS:
            return name.removesuffix(end)
    return name


def test_every_metric_that_is_watched_exists() -> None:
    """With every label that it is asked by."""
    seen = set()
    for expression in expressions():
        for name, selector in NAME.findall(expression):
            if name in OF_THE_PROCESS:
                continue
            row = METRICS[metric(name)]
            seen.add(row.name)
            asked = {label for label, _, _ in LABEL.findall(selector)}
            assert asked <= {*row.labels, "instance", "job", "le"}, expression
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            known = {label for name, _ in NAME.findall(expression) for label in METRICS[metric(name)].labels}
            assert set(re.split(r",\s*", grouped)) <= known | {"le", "instance"}, expression
    assert len(seen) > 15


def test_every_value_that_is_watched_exists() -> None:
    """An endpoint, a kind of event, an outcome: the program's own words."""
    inside = assemble(
        parse(
            Document(
                "test",
                '[server]\ndatabase = "memory:"\n[issuer.main]\nurl = "http://localhost"\n[issuer.main.registration]\nmode = "open"',
            )
        )
    )
    endpoints = {route.endpoint for route in routes(inside.issuers["main"]).values()}
    known = {
        "kind": set(EVENTS),
        "error": set(ERRORS),
        "verdict": set(Verdict),
        "endpoint": endpoints,
        "method": {"GET", "POST", "PUT", "DELETE"},
        "outcome": {"durable", "failed", "fetched", "delivered", "again", "given_up"},
        "state": {"used", "free"},
    }
    checked = 0
    for expression in expressions():
        for _, selector in NAME.findall(expression):
            for label, how, value in LABEL.findall(selector):
                if label in known and how in ("=", "!="):
                    assert value in known[label], expression
                    checked += 1
    assert checked > 10


def test_the_dashboard_is_whole() -> None:
    """Panels have numbers of their own and do not lie on each other."""
    panels = json.loads(read("grafana/registrar.json"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


# --- as it is deployed ------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def test_two_replicas_run_with_the_environment_of_the_compose_file(own_database: str, tmp_path: Path) -> None:
    """Keys, migration, replicas, in that order and from variables alone; what one registers, the other knows."""
    (tmp_path / "database").write_text(own_database, "utf-8")
    create_key_file(tmp_path / "registrar.key")
    changed = {
        "REGISTRAR_SERVER__KEY_FILE": str(tmp_path / "registrar.key"),
        "REGISTRAR_SERVER__DATABASE_FILE": str(tmp_path / "database"),
        "REGISTRAR_SERVER__HOST": "127.0.0.1",
        "REGISTRAR_SERVER__METRICS__HOST": "127.0.0.1",
        "REGISTRAR_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
        "REGISTRAR_ISSUER__MAIN__REGISTRATION__MODE": "open",
    }
    own = of_container() | of_compose() | changed
    del own["REGISTRAR_SERVER__DATABASE"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRAR_")} | own
    program = [sys.executable, "-m", "registrar"]
    migrated = subprocess.run(
        [*program, "migrate"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert migrated.returncode == 0, migrated.stderr

    ports = [free_port() for _ in range(2)]
    counting = [free_port() for _ in range(2)]
    logs = [(tmp_path / f"{port}.log").open("w", encoding="utf-8") for port in ports]
    replicas = [
        subprocess.Popen(
            tied(*program, "serve", "--port", str(port)),
            cwd=tmp_path,
            env=environment | {"REGISTRAR_SERVER__METRICS__PORT": str(metrics)},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        for port, metrics, log in zip(ports, counting, logs, strict=True)
    ]
    name = secrets.token_hex(8)
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "X-Request-Id": name}
    try:
        for port in ports:
            ready(port)
        first, second = (f"http://127.0.0.1:{port}" for port in ports)
        client = {"redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "none"}
        assert httpx2.post(f"{first}/register", json=client).status_code == 400, "it did not come over TLS"
        made = httpx2.post(f"{first}/register", json=client, headers=proxied)
        assert (made.status_code, made.headers["x-request-id"]) == (201, name)
        members = made.json()
        assert members["registration_client_uri"].startswith("https://localhost/register/")
        bearer = {"Authorization": f"Bearer {members['registration_access_token']}"}
        read_back = httpx2.get(f"{second}/register/{members['client_id']}", headers=proxied | bearer)
        assert read_back.status_code == 200
        told = httpx2.get(f"http://127.0.0.1:{counting[1]}/metrics").text
        assert re.search(r'registrar_store_sessions\{state="free"\} [1-9]', told)
        assert "registrar_ready 1.0" in told
        families = set(re.findall(r"^# TYPE (\S+)", told, re.MULTILINE))
        watched = {metric(name) for expression in expressions() for name, _ in NAME.findall(expression)}
        assert watched <= families, "what is watched is told by nobody"
    finally:
        for replica in replicas:
            replica.terminate()
        codes = [replica.wait(30) for replica in replicas]
        for log in logs:
            log.close()
    assert codes == [0, 0]
    for port in ports:
        for line in (tmp_path / f"{port}.log").read_text("utf-8").splitlines():
            json.loads(line)


def ready(port: int) -> None:
    """Return once a replica is ready."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.02)
    raise AssertionError("it did not become ready")
