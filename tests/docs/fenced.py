"""Runs the fenced blocks of a page, in order, in a checkout of the page's own.

- `sh` runs in one shell for the whole page. `make run` or `registrar serve ...`, alone in its block, is started, kept
  running until the page ends or starts another, and has its own port in place of 8000, and another for its metrics in
  place of 9464.
- `python` runs in one namespace for the whole page.
- `text` and `json` after a command show what it prints, `...` standing for whatever varies. A `json` block in a section
  without a command is a registration request, which an open server must accept.
- `toml` is a configuration, which must load.

`postgresql:///registry` is an empty database of a real server.

No other block is allowed, so that nothing is shown that is not known to work.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import httpx2
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser

from registrar.config import parse
from registrar.policy.document import Document as Configuration
from registrar.testing import served
from tied import tied

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sybil import Example

PROJECT: Final = Path(__file__).parents[2]
LANGUAGES: Final = ("sh", "python", "text", "json", "toml")
SECONDS: Final = 60
_SERVER: Final = re.compile(r"make run|registrar serve\b[^\n]*")
_END: Final = "-- end of block --"


def pages() -> list[Path]:
    """Every page that people read."""
    return sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


class Shell:
    """A shell that runs one script after the other, and keeps what they set."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._scripts = folder.parent / f"{folder.name}.sh"
        self._process = subprocess.Popen(
            ["bash", "-u"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, script: str) -> str:
        """What a script prints; it must succeed."""
        self._scripts.write_text(f"set -e\n{script}\nset +e\n", "utf-8")
        pipe: IO[bytes] = self._process.stdin  # type: ignore[assignment]  # opened as a pipe
        pipe.write(f"source {self._scripts} </dev/null; echo '{_END}'\n".encode())
        pipe.flush()
        printed, whole = self._read()
        assert whole, f"the shell stopped:\n{printed}"
        return printed

    def _read(self) -> tuple[str, bool]:
        """What comes until the end of the block, and whether the end came."""
        output: IO[bytes] = self._process.stdout  # type: ignore[assignment]  # as above
        printed, until = b"", time.monotonic() + SECONDS
        while time.monotonic() < until and select.select([output], [], [], until - time.monotonic())[0]:
            chunk = os.read(output.fileno(), 65536)
            printed += chunk
            if printed.rstrip().endswith(_END.encode()):
                return printed.rstrip().removesuffix(_END.encode()).decode(), True
            if not chunk:
                break
        return printed.decode("utf-8", "replace"), False

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.communicate()


class Page:
    """A page being run: the checkout, the shell, the names of its Python blocks, its server, and what was printed last."""

    def __init__(self, path: Path, folder: Path, more: Mapping[str, str]) -> None:
        self.path = path
        self._folder = folder
        self._port, self._metrics_port = _free_port(), _free_port()
        self._environment = {**_environment(folder, self._port), **more}
        self._shell = Shell(folder, self._environment)
        self._names: dict[str, Any] = {"__name__": "page"}
        self._server: subprocess.Popen[bytes] | None = None
        self._printed: str | None = None
        self._end = 0

    def __enter__(self) -> Self:
        for name in (".venv", "Makefile", "pyproject.toml", "requirements", "src"):
            (self._folder / name).symlink_to(PROJECT / name)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._shell.close()

    def examples(self) -> Iterator[Example]:
        """The blocks of the page, each to be evaluated."""
        parsers = [CodeBlockParser(language, self.evaluate) for language in LANGUAGES]
        return Document.parse(str(self.path), *parsers).examples()

    def evaluate(self, example: Example) -> str | None:
        """Run or judge one block; what is returned is what is wrong with it."""
        if "\n#" in example.document.text[self._end : example.region.start]:
            self._printed = None  # a new section
        self._end = example.region.end
        run = getattr(self, f"_{example.region.lexemes['arguments']}")
        try:
            problem: str | None = run(str(example.parsed))
        except AssertionError as failed:
            return str(failed) or repr(failed)
        return problem

    # --- what each language does ---

    def _sh(self, script: str) -> None:
        script = self._to_port(script.strip())
        if _SERVER.fullmatch(script):
            self._printed = self._from_port(self._start(script))
            return
        self._printed = self._from_port(self._shell.run(script))
        for file in Path(self._shell.run("pwd").strip()).glob("*.toml"):  # what `registrar init` wrote
            if not file.is_symlink():
                file.write_text(self._to_port(file.read_text("utf-8")), "utf-8")

    def _python(self, source: str) -> None:
        printed = io.StringIO()
        folder = self._shell.run("pwd").strip()
        with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
            exec(compile(self._to_port(source), str(self.path), "exec"), self._names)
        self._printed = self._from_port(printed.getvalue())

    def _text(self, expected: str) -> str | None:
        printed, self._printed = self._printed, None
        if printed is None:
            return "a text block shows what a command above it prints, and there is none"
        return None if _reads(expected, printed) else f"expected\n\n{expected}\nbut it prints\n\n{printed}"

    def _json(self, text: str) -> str | None:
        shown = json.loads(text)
        printed, self._printed = self._printed, None
        if printed is None:
            return asyncio.run(_refusal(shown))
        answer = printed[printed.index("{") :] if "{" in printed else printed
        try:
            value = json.loads(answer)
        except ValueError:
            return f"no JSON was printed, but\n\n{printed}"
        return None if _like(shown, value) else f"expected\n\n{text}\nbut it prints\n\n{json.dumps(value, indent=2)}"

    def _toml(self, text: str) -> None:
        parse(Configuration(self.path.name, text))

    # --- the server ---

    def _start(self, command: str) -> str:
        """Start a server in place of the one before, and give what it said until it was ready."""
        self._stop()
        if "--dev" in command:
            command += f" --port {self._port}"
        said = self._folder.parent / f"{self._folder.name}.log"
        with said.open("wb") as log:
            self._server = subprocess.Popen(
                tied("bash", "-c", f"exec {command}"),
                cwd=self._shell.run("pwd").strip(),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and self._server.poll() is None:
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"http://127.0.0.1:{self._port}/readyz", trust_env=False).status_code == httpx2.codes.OK:
                    return said.read_text("utf-8")
            time.sleep(0.05)
        raise AssertionError(f"{command} does not serve:\n{said.read_text('utf-8')}")

    def _stop(self) -> None:
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGTERM)
        self._server.wait(SECONDS)
        self._server = None

    def _to_port(self, text: str) -> str:
        for written, own in self._ports():
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{own}").replace(
                f"port = {written}", f"port = {own}"
            )
        return text

    def _from_port(self, text: str) -> str:
        for written, own in self._ports():
            text = text.replace(f"127.0.0.1:{own}", f"127.0.0.1:{written}").replace(
                f"port = {own}", f"port = {written}"
            )
        return text

    def _ports(self) -> tuple[tuple[int, int], ...]:
        """The ports that pages write, and those that stand for them here."""
        return (8000, self._port), (9464, self._metrics_port)


def _environment(folder: Path, port: int) -> dict[str, str]:
    """The environment of a newcomer, but for the port, and for pip, which has been run."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return kept | {
        "PATH": f"{PROJECT / '.venv/bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PORT": str(port),
        "MAKEFLAGS": "-o .venv/installed",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _refusal(request: dict[str, Any]) -> str | None:
    """What an open server has against a registration request."""
    async with served() as server:
        answer = await server.client.post("/register", json=request)
    return None if answer.status_code == httpx2.codes.CREATED else f"refused: {answer.text}"


def _reads(expected: str, printed: str) -> bool:
    """Whether a text is what is shown, `...` standing for anything: for lines where it is one, else within its line.

    How far columns are apart depends on what stands in them, so runs of spaces count as one.
    """
    lines = [" ".join(line.split()) for line in expected.strip().splitlines()]
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*?") + r"\n" for line in lines
    )
    text = "\n".join(" ".join(line.split()) for line in printed.strip().splitlines()) + "\n"
    return re.fullmatch(pattern, text) is not None


def _like(shown: Any, value: Any) -> bool:
    """Whether a value is what is shown: "..." is any value, and as a member it stands for all that are not shown."""
    if shown == "...":
        return True
    if isinstance(shown, dict) and isinstance(value, dict):
        open_ended = "..." in shown
        known = {name: item for name, item in shown.items() if name != "..."}
        if not known.keys() <= value.keys() or (not open_ended and known.keys() != value.keys()):
            return False
        return all(_like(item, value[name]) for name, item in known.items())
    if isinstance(shown, list) and isinstance(value, list):
        return len(shown) == len(value) and all(map(_like, shown, value))
    if isinstance(shown, str) and isinstance(value, str) and "..." in shown:
        return re.fullmatch(re.escape(shown).replace(r"\.\.\.", ".*"), value, re.DOTALL) is not None
    return bool(shown == value)
