"""A connection: uvicorn's, bounded before an endpoint is asked, and with a shorter way for this application's answers.

What is not HTTP gets JSON too. Through ASGI an answer is taken apart into two messages, which uvicorn checks and puts
together again; that is a tenth of the time of a registration. This application can give its answer whole, so here it is
written whole. Embedded in another server, or behind uvicorn's own middleware, it answers through ASGI all the same.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from registrar.domain.errors import ProtocolError
from registrar.http import certificates, wire
from registrar.http.application import Application
from registrar.http.wire import Answer, Receive, Scope

HEAD_BYTES: Final = 65_536
"""Bytes of a request's head at the most, not counting the read in which it begins."""


class Connection(HttpToolsProtocol):
    """One connection of a client.

    uvicorn waits for ever for a first request, for the rest of a head, and for the rest of a body that was answered
    unread, it keeps a head of any size, and it loses the body of a request that asks for another protocol. While an
    endpoint reads a body, it watches the time itself.

    Args:
        seconds: what a request may take to arrive from its first byte on.
        given: what uvicorn gives to its own class.
    """

    _default: ClassVar[tuple[list[tuple[bytes, bytes]], bytes]] = [], b""

    def __init__(self, *, seconds: float, **given: Any) -> None:
        super().__init__(**given)
        self._seconds = seconds
        self._in_head = self._arriving = self._upgrading = False
        self._head_bytes = 0
        self._read = b""
        self._unread: list[bytes] = []
        self._unread_since: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._certificate: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self._certificate = tls.getpeercert(binary_form=True)
        self._idle_since = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        for timer in (self.timeout_keep_alive_task, self._unread_since):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    # uvicorn starts and cancels a timer for every request. Here one timer runs as long as the connection, and looks at
    # how long it has been idle.

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: uvicorn calls this for any byte, and a blank line before a request is none (RFC 9112 §2.2)."""

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.flow.resume_reading()
            self._idle_since = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        idle = self.loop.time() - self._idle_since if self._idle_since else 0.0
        if idle >= self.timeout_keep_alive:
            # A caller that does not even take its answer is not waited for: closing would wait until it does.
            (self.transport.abort if self.transport.get_write_buffer_size() else self.transport.close)()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive - idle, self.timeout_keep_alive_handler
        )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if not isinstance(app, Application):
            super()._start_asgi_task(cycle, app)
            return
        task = self.loop.create_task(self._answer(cycle, app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _answer(self, cycle: RequestResponseCycle, application: Application) -> None:
        """Give an answer whole: what uvicorn does in `run_asgi` and `send`, for an answer that is known at once."""
        receive = cast("Receive", cycle.receive)
        if not cycle.more_body and not cycle.waiting_for_100_continue:
            receive = wire.Arrived(bytes(cycle.body))
        given = await application.answer(cast("Scope", cycle.scope), receive)
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        cycle.response_started = cycle.response_complete = True
        if cycle.disconnected or self.transport.is_closing():  # the first is only told to the last of several cycles
            return
        body = b"" if cycle.scope["method"] == "HEAD" else given.body
        if application.draining or _CLOSE in given.headers:
            cycle.keep_alive = False
        self.transport.write(self._head(given, keep_alive=cycle.keep_alive) + body)
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def _head(self, given: Answer, *, keep_alive: bool) -> bytes:
        """The head of an answer as it stands on the wire (RFC 9112 §2.1)."""
        own = _NO_STORE if given.headers is wire.NO_STORE else _lines(given.headers)
        length = b"" if given.status == HTTPStatus.NO_CONTENT else b"content-length: %d\r\n" % len(given.body)
        close = b"" if keep_alive or _CLOSE in given.headers else _lines([_CLOSE])
        return b"%b%b%b%b%b\r\n" % (
            STATUS_LINE[given.status],
            self._default_lines(),
            own,
            length,
            close,
        )

    def _default_lines(self) -> bytes:
        """What uvicorn has in every answer: a list that it makes anew each second, for all connections."""
        fields, lines = Connection._default
        if fields is not self.server_state.default_headers:
            fields = self.server_state.default_headers
            Connection._default = fields, (lines := _lines(fields))
        return lines

    def shutdown(self) -> None:
        super().shutdown()
        if self.scheme == "https" and self.transport.is_closing() and not self.transport.get_write_buffer_size():
            # Closing waits until the client says good-bye too (RFC 8446 §6.1), and one that is idle may not be reading.
            self.loop.call_later(_GOOD_BYE_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_since is not None:
            self._unread_since.cancel()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        self._unread = [data]
        while self._unread and not self.transport.is_closing():
            self._read = self._unread.pop(0)
            super().data_received(self._read)
        self._read = b""
        if not self._arriving or self.transport.is_closing():
            return
        if self._head_bytes > HEAD_BYTES:
            self._refuse(ProtocolError("invalid_request", f"The head of a request has at most {HEAD_BYTES} bytes."))
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._seconds, self._late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._certificate is not None:
            cast("Scope", self.scope)[certificates.OF_CONNECTION] = self._certificate
        self._in_head = self._arriving = True
        self._head_bytes = 0
        self._idle_since = 0.0

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a chunked body is a trailer, and never counts as a header (RFC 9110 §6.5.1).
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._upgrading = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self._upgrading:
            super().on_headers_complete()  # it raises for a target that is no path; then this is still the head
        self._in_head = False

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._arriving = False
        self._forget_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (uvicorn's words; the answer has its own)
        self._refuse(ProtocolError("invalid_request", "This is not a well-formed HTTP/1.1 request."))

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore an upgrade, which is never offered (RFC 9110 §7.8).

        The parser takes what follows such a head for another protocol, where it is the body: Java's HttpClient asks for
        HTTP/2 with its first POST. So the request is parsed once more, without the field. uvicorn calls this while it
        handles the exception that tells where the head ended.
        """
        reached = sys.exception()
        if not self._upgrading or reached is None:
            return
        fields = [(name, value) for name, value in self.headers if name != b"upgrade"]
        head = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        head += b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\n"
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        rest = self._read[reached.args[0] :]
        self._unread = [head, rest] if rest else [head]

    def _late(self) -> None:
        self._deadline = None
        if self._in_head:
            self._refuse(ProtocolError("request_timeout", "The request did not arrive in time."))
        elif self.cycle.response_complete:
            self.transport.close()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: ProtocolError) -> None:
        """Answer what never became a request, and hang up: where the next one would begin is not known."""
        answered = getattr(self.cycle, "response_complete", True)  # there is no cycle before the first request
        if not answered and not self.cycle.more_body:
            # A whole request is under way before this one. Its answer is the last: the client would take ours for it.
            self.cycle.keep_alive = False
            return
        unread = answered and self._arriving and not self._in_head  # the rest of a request that has its answer
        if not self.pipeline and not unread:
            given = wire.refusal(error)
            self.transport.write(self._head(given, keep_alive=False) + given.body)
        self.transport.close()


def _lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])


_GOOD_BYE_SECONDS: Final = 1
_CLOSE: Final = (b"connection", b"close")
_NO_STORE: Final = _lines(wire.NO_STORE)
