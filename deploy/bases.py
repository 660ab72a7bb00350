"""Makes the images that deploy/ names, of Debian's packages: `make deploy-bases`, where no registry of images is reached.

`deploy/run.py` then runs on them. It needs root, debootstrap, and an engine that Docker's client reaches; what is given
to it is given to `docker build`.
"""
# ruff: noqa: INP001, T201, S603, S607  (a script beside the files that it reads; it talks; what it runs is written here)

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from check import HERE, TOOLS, install, tool

SUITE: Final = "trixie"
"""The release of Debian that has Python 3.13, PostgreSQL 17 and Valkey 8."""
GRAFANA: Final = "docker.io/grafana/grafana"
"""Debian has none."""


def names() -> set[str]:
    """The images that are named, but for our own."""
    said = re.findall(r"^ARG BASE=(\S+)", (HERE / "Containerfile").read_text("utf-8"), re.MULTILINE)
    return {*said, *re.findall(r"^\s*image: (\S+/\S+)", (HERE / "compose.yaml").read_text("utf-8"), re.MULTILINE)}


def main() -> int:
    """Make each under the name that it is asked for by."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    install()
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        context = Path(folder)
        shutil.copytree(HERE / "bases", context, dirs_exist_ok=True)
        shutil.copy(tool("caddy") or "", context)
        configuration = Path("/etc/pip.conf")
        (context / "pip.conf").write_bytes(configuration.read_bytes() if configuration.exists() else b"")
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
        root = context / "debian"
        made: list[str | Path] = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, root]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["tar", "--directory", root, "--create", "--file", f"{root}.tar", "."], check=True)
        shutil.rmtree(root)
        for name in sorted(names()):
            if name.startswith(GRAFANA):
                print(f"not made: {name}")
                continue
            target = name.rpartition("/")[2].partition(":")[0]
            build: list[str | Path] = [
                "docker",
                "build",
                "--quiet",
                "--file",
                context / "Containerfile",
                "--target",
                target,
                "--tag",
                name,
            ]
            subprocess.run([*build, *sys.argv[1:], context], check=True)
            print(f"made: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
