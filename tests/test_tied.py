"""What a run starts ends with it, also where it is killed: servers with their workers, PostgreSQL, what a bench measures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tied import tied

TESTS = Path(__file__).parent
RUN = f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "durability")!r}, {str(TESTS.parent / "bench")!r}]
import postgresql
from ours import registrar
from replicas import CONFIGURATION, Replica, free_port
from registrar.config import create_key_file
from servers import Site, running

folder = Path(sys.argv[1])
create_key_file(folder / "keys")
text = CONFIGURATION.format(port=1, database=f"sqlite:///{{folder}}/registrar.db", keys=folder / "keys")
(folder / "registrar.toml").write_text(text)
replica = Replica(folder / "registrar.toml", "--workers", "2").launch()
while len(replica.workers()) < 2:
    time.sleep(0.01)
measured, site = registrar("open"), Site(folder / "bench", free_port())
site.folder.mkdir()
with postgresql.running() as database, measured.database(site), running(measured, site) as (pid, _):
    print(replica.process.pid, *replica.workers(), pid, database._process.pid, database.folder, flush=True)
    time.sleep(600)
"""


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    """`kill -9` leaves nobody to stop them; and what lies in the temporary folder goes with the next run."""
    with subprocess.Popen(
        tied(sys.executable, "-c", RUN, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        said = run.stdout.readline().split()
        assert said, run.stderr.read()
        *numbers, folder = said
        pids = [int(one) for one in numbers]
        assert len(pids) == 5
        assert all(map(lives, pids))
        run.kill()
    until = time.monotonic() + 20
    while (left := [one for one in pids if lives(one)]) and time.monotonic() < until:
        time.sleep(0.02)
    for one in left:
        os.kill(one, signal.SIGKILL)  # they would outlive this run too
    assert not left
    assert Path(folder).is_relative_to(tempfile.gettempdir())
    again = f"import sys; sys.path.insert(0, {str(TESTS)!r}); import postgresql; postgresql.PostgreSQL().remove()"
    subprocess.run([sys.executable, "-c", again], check=True)
    assert not Path(folder).exists()


def test_a_process_is_not_tied_to_a_thread() -> None:
    """It would end with the thread, in the middle of whatever test has its turn then."""
    assert tied("true")[-1] == "true"
    with ThreadPoolExecutor(1) as beside, pytest.raises(RuntimeError, match="thread"):
        beside.submit(tied, "true").result()
