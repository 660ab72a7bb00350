"""A mark means what it says: where the rule of a requirement is broken in the code, a test that carries its id fails.

Each case breaks one rule in a copy of the package and runs, against the copy, the tests that carry the id. What is
replaced must stand exactly once in its file, so that a case whose code has moved is noticed and not passed over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manifest import TESTS, marks, rows

PACKAGE = TESTS.parent / "src" / "registrar"
ROOMS = ("client", "domain", "http", "policy", "service")
"""The rooms whose tests are quick; every case has a test in one of them."""

PLUGIN = """
import os
from pathlib import Path
import pytest
import registrar

def pytest_collection_modifyitems(config, items):
    if not Path(registrar.__file__).is_relative_to(os.environ["COPY"]):
        raise pytest.UsageError(f"the tests would run against {registrar.__file__}")
    wanted = set(os.environ["IDS"].split())
    ids = {item: {one for mark in item.iter_markers("requirement") for one in mark.args} for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not wanted & ids[item]])
    items[:] = [item for item in items if wanted & ids[item]]
"""

BROKEN = [
    ("D-9", "domain/settings.py", "mode: tuple[Mode, ...] = _setting((), ", "mode: tuple[Mode, ...] = _setting((Mode.OPEN,), "),
    ("D-12", "domain/redirect_uri.py", "return _without_port(registered) == _without_port(requested)", "return False"),
    ("R7591-4", "domain/coherence.py", "if grant in REDIRECT_GRANTS]", 'if grant == "implicit"]'),
    ("R7591-6", "domain/coherence.py", "in SECRET_METHODS or needs_symmetric_key(members)", "is not None"),
    ("R7591-47", "http/endpoints.py", "201 if made.new else 200", "200"),
    ("R7591-59", "http/wire.py", '(b"pragma", b"no-cache"),', ""),
    ("R7592-12", "service/management.py", "metadata=decision.metadata,", "metadata={**client.metadata, **decision.metadata},"),
    ("R7592-14", "service/management.py", 'if presented.get(name) not in (None, "")]', "if False]"),
    ("OIDC-19", "domain/coherence.py", "if len(hosts) > 1:", "if len(hosts) > 2:"),
    ("DISC-1", "domain/server_metadata.py", 'f"/.well-known/oauth-authorization-server{path}"', 'f"{path}/.well-known/oauth-authorization-server"'),
    ("DISC-7", "client/wire.py", "if found != issuer:", 'if str(found).rstrip("/") != issuer:'),
    ("BASE-2", "domain/redirect_uri.py", 'if "#" in uri:', 'if uri.partition("#")[2]:'),
    ("BASE-33", "http/wire.py", 'if b"access_token" in scope["query_string"]:', "if False:"),
    ("META-27", "domain/coherence.py", 'enc.removesuffix("enc") + "alg") not in members', 'enc.removesuffix("enc") + "alg") in ()'),
    ("AUTHM-6", "domain/coherence.py", "return [] if given == 1 else", "return [] if given else"),
    ("SEED-14", "domain/settings.py", "mode: tuple[Mode, ...] = _setting((), ", "mode: tuple[Mode, ...] = _setting((Mode.OPEN,), "),
    ("SEED-23", "service/initial_access.py", "max_uses: int = 1,", "max_uses: int = 0,"),
    ("SEED-24", "service/admission.py", "if SCOPE not in scope:", "if not scope:"),
    ("WILD-1", "domain/redirect_uri.py", "if parts.scheme in DENIED_SCHEMES or ", "if "),
]  # fmt: skip


def run(folder: Path, *ids: str) -> subprocess.CompletedProcess[str]:
    """The tests that carry one of the ids, against the copy of the package in a folder; the first failure ends them."""
    (folder / "biting.py").write_text(PLUGIN, "utf-8")
    files = {
        path for name in ids for path in marks()[name] if path.parent.name in ROOMS and path.name.startswith("test_")
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "biting", *sorted(files)],
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(folder), "COPY": str(folder), "IDS": " ".join(ids)},
        capture_output=True,
        text=True,
        check=False,
    )


def copied(folder: Path) -> Path:
    """A copy of the package."""
    shutil.copytree(PACKAGE, folder / "registrar", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "registrar"


@pytest.mark.parametrize(("name", "path", "old", "new"), BROKEN, ids=[name for name, *_ in BROKEN])
def test_a_broken_rule_fails_its_tests(name: str, path: str, old: str, new: str, tmp_path: Path) -> None:
    """The tests of a requirement fail, and do no worse, when its rule is broken."""
    file = copied(tmp_path) / path
    text = file.read_text("utf-8")
    assert text.count(old) == 1, f"{path} has changed: {old}"
    file.write_text(text.replace(old, new), "utf-8")

    told = run(tmp_path, name)

    assert told.returncode == pytest.ExitCode.TESTS_FAILED, told.stdout[-2000:] + told.stderr[-2000:]
    assert "1 failed" in told.stdout


def test_the_same_tests_pass_where_nothing_is_broken(tmp_path: Path) -> None:
    """What fails above fails for the breakage alone."""
    copied(tmp_path)

    told = run(tmp_path, *{name for name, *_ in BROKEN})

    assert told.returncode == pytest.ExitCode.OK, told.stdout[-2000:] + told.stderr[-2000:]
    assert "passed" in told.stdout


def test_the_sample_is_of_every_family() -> None:
    """No family of rows is left out, but for the members that are known and not served (METAX)."""
    families = {name.partition("-")[0] for name in rows()}

    assert {name.partition("-")[0] for name, *_ in BROKEN} == families - {"METAX"}
