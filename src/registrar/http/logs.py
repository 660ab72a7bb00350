"""The log: a line for each record, whatever stands in it, and a line for each request or for some.

What strangers send reaches the log in messages and tracebacks. It never begins a line there: in text, control
characters are written as escapes and a traceback is indented; JSON escapes by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import time
from contextvars import ContextVar
from typing import Any, Final, TextIO

import msgspec

from registrar.domain.settings import Log, LogFormat

REQUEST_ID: Final[ContextVar[str]] = ContextVar("registrar_request_id", default="")
"""The name of the request that is being answered; empty where there is none, or where requests have no names."""

MOST_LINES: Final = 10_000
"""Lines of requests that wait to be written; what comes beyond is counted and left out."""
_FLUSH_SECONDS: Final = 0.5
_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_encode: Final = msgspec.json.Encoder().encode


def configure(settings: Log, stream: TextIO | None = None) -> None:
    """Write the log of this process, as the settings say.

    Args:
        settings: `[server.log]`.
        stream: where; standard error if it is not said.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json() if settings.format is LogFormat.JSON else Text())
    # What others write below `info` may hold headers with tokens in them; it is not written, whatever the level.
    level = getattr(logging, settings.level.upper())
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("registrar").setLevel(level)


class Text(logging.Formatter):
    """Lines for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (as in logging)
        record.message = _CONTROL.sub(_escape, record.message)
        line = super().formatMessage(record)
        return f"{line} [{name}]" if (name := REQUEST_ID.get()) else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 (as in logging)
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  | {_CONTROL.sub(_escape, line)}" for line in lines)


class Json(logging.Formatter):
    """Lines for programs: one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        members = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _whole(record.getMessage()),
        }
        if name := REQUEST_ID.get():
            members["request_id"] = name
        if record.exc_info:
            members["exception"] = _whole(self.formatException(record.exc_info))
        return _encode(members).decode()


class RequestLog:
    """A line for each request, or for a share of them: gathered, and written by a thread twice in a second.

    Args:
        settings: `[server.log]`.
        stream: where; standard error if it is not said.
    """

    def __init__(self, settings: Log, stream: TextIO | None = None) -> None:
        self._json = settings.format is LogFormat.JSON
        self._stream = stream or sys.stderr
        self._lines: list[dict[str, Any]] = []
        self._left_out = 0

    def add(self, members: dict[str, Any]) -> None:
        """Gather the line of a request.

        Args:
            members: what it says; nothing that a caller chose, but for the name that a trusted proxy gave it.
        """
        if len(self._lines) >= MOST_LINES:
            self._left_out += 1
            return
        self._lines.append({"time": time.time(), **members})

    async def keep_writing(self) -> None:
        """Write what was gathered, until cancelled; then what is left."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_SECONDS)
                if self._lines:
                    await asyncio.to_thread(self._write, self._taken())
        finally:
            with contextlib.suppress(OSError):
                self._write(self._taken())

    def _taken(self) -> list[dict[str, Any]]:
        lines, self._lines = self._lines, []
        if self._left_out:
            lines.append({"time": time.time(), "left_out": self._left_out})
            self._left_out = 0
        return lines

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if lines:
            self._stream.write("".join([self._line(one) for one in lines]))
            self._stream.flush()

    def _line(self, members: dict[str, Any]) -> str:
        said = _time(members.pop("time"))
        if self._json:
            return _encode({"time": said, "level": "info", "logger": "registrar.requests", **members}).decode() + "\n"
        return f"{said} INFO registrar.requests: {' '.join(f'{name}={value}' for name, value in members.items())}\n"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _whole(text: str) -> str:
    """Text that can be written as UTF-8: what is half of a pair is told as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()
