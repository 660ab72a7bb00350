"""The log: whole lines whatever stands in them, the name of a request in each, and no secret in any."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as some
from real_server import Start, configuration, request

from registrar.config import ConfigurationError, parse
from registrar.domain.settings import Log, LogFormat, LogLevel
from registrar.http import logs
from registrar.http.logs import MOST_LINES, REQUEST_ID, RequestLog, configure
from registrar.policy.document import Document
from registrar.testing import OPEN, served

CLIENT: Final = {"redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "none"}
PROXIES: Final = "[server]\ntrusted_proxies = ['127.0.0.1']"
NAMED: Final = f"{OPEN.replace('[server]', PROXIES, 1)}\n[server.log]\nrequest_ids = true"
FORGED: Final = "x\r\n2026-01-01 00:00:00,000 INFO registrar: all is well\x1b[2K\u2028\u0085\ud800"
FORMATS: Final = (LogFormat.TEXT, LogFormat.JSON)


@pytest.fixture
def logging_again() -> Iterator[None]:
    """The log is as it was when the test is over."""
    root, ours = logging.getLogger(), logging.getLogger("registrar")
    handlers, level, own = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level = handlers, level
    ours.setLevel(own)


def written(settings: Log, act: Any) -> list[str]:
    """The lines that something leaves in the log."""
    stream = io.StringIO()
    configure(settings, stream)
    act(logging.getLogger("registrar"))
    return stream.getvalue().removesuffix("\n").split("\n")


@pytest.mark.usefixtures("logging_again")
@pytest.mark.parametrize("form", FORMATS)
def test_nothing_that_is_logged_begins_a_line(form: LogFormat) -> None:
    """A message and a traceback, with what ends lines or moves the cursor in them."""

    def fail(log: logging.Logger) -> None:
        log.warning("it was %s", FORGED)
        try:
            raise ValueError(FORGED)  # noqa: TRY301 (its message as it is)
        except ValueError:
            log.exception("it failed: %s", FORGED)

    lines = written(Log(format=form), fail)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", "\n".join(lines)) or form is LogFormat.JSON
    assert "\x1b" not in "".join(lines)
    assert "\r" not in "".join(lines)
    if form is LogFormat.JSON:
        read = [json.loads(line) for line in lines]
        assert [one["level"] for one in read] == ["warning", "error"]
        assert "all is well" in read[0]["message"]
        assert "Traceback" in read[1]["exception"]
    else:
        assert sum(line.startswith("2026-01-01") for line in lines) == 0
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} |  \| ", line) for line in lines)
    "\n".join(lines).encode()


@pytest.mark.usefixtures("logging_again")
@pytest.mark.parametrize("form", FORMATS)
def test_every_line_has_the_name_of_its_request(form: LogFormat) -> None:
    """And a line that belongs to none has none."""
    name = REQUEST_ID.set("request-1")
    [inside] = written(Log(format=form), lambda log: log.info("inside"))
    REQUEST_ID.reset(name)
    [outside] = written(Log(format=form), lambda log: log.info("outside"))

    assert "request-1" in inside
    assert "request" not in outside


@pytest.mark.usefixtures("logging_again")
def test_the_level_is_ours_alone_below_info() -> None:
    """What a library says in detail may hold a header with a token."""

    def talk(log: logging.Logger) -> None:
        log.debug("ours")
        logging.getLogger("httpcore").debug("Authorization: Bearer s3cret")
        logging.getLogger("httpcore").warning("theirs")

    lines = written(Log(level=LogLevel.DEBUG), talk)
    assert [line.rpartition(": ")[2] for line in lines] == ["ours", "theirs"]
    lines = written(Log(level=LogLevel.ERROR), talk)
    assert lines == [""]


@pytest.mark.anyio
async def test_an_answer_names_its_request() -> None:
    """Each request has another name; one that a trusted proxy gave is kept, where it is a name."""
    async with served(NAMED) as server:
        names = [(await server.client.get("/healthz")).headers["x-request-id"] for _ in range(3)]
        made = await server.client.post("/register", json=CLIENT, headers={"X-Request-Id": "from/the.proxy:1"})
        assert made.status_code == 201

    assert len(set(names)) == 3
    assert made.headers["x-request-id"] == "from/the.proxy:1"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["", "a b", "a\tb", "x" * 129, "<script>", '"', "a,b", "caf\xe9", "a;b"])
async def test_what_is_no_name_is_not_taken(name: str) -> None:
    """From a proxy neither: it would stand in the log and in a header."""
    async with served(NAMED) as server:
        answer = await server.client.get("/healthz", headers={b"X-Request-Id": name.encode("latin-1")})
        twice = await server.client.get("/healthz", headers=[("X-Request-Id", "one"), ("X-Request-Id", "two")])

    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", answer.headers["x-request-id"])
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", twice.headers["x-request-id"])


@pytest.mark.anyio
async def test_a_strangers_name_is_not_taken() -> None:
    """Nobody hides behind the name of somebody else's request."""
    async with served(NAMED.replace("127.0.0.1", "10.9.9.9", 1)) as server:
        answer = await server.client.get("/healthz", headers={"X-Request-Id": "mine"})

    assert answer.headers["x-request-id"] != "mine"


@pytest.mark.anyio
async def test_requests_have_no_names_unless_asked_for() -> None:
    """The default."""
    async with served(OPEN) as server:
        assert "x-request-id" not in (await server.client.get("/healthz")).headers


@pytest.mark.anyio
async def test_a_500_is_found_in_the_log_by_its_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer, its header and the log have the same, and nothing that was presented."""
    from registrar.http import endpoints

    async def broken(*_: Any) -> None:
        raise RuntimeError("something")

    monkeypatch.setattr(endpoints.registration, "register", broken)
    secret = {"Authorization": "Bearer very-secret-token"}
    async with served(NAMED) as server:
        answer = await server.client.post("/register", json={**CLIENT, "client_name": "hush"}, headers=secret)

    name = answer.headers["x-request-id"]
    assert answer.status_code == 500
    assert name in answer.json()["error_description"]
    assert f"incident {name}" in caplog.text
    assert "very-secret-token" not in caplog.text + answer.text
    assert "hush" not in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("form", FORMATS)
async def test_a_line_for_each_request(form: LogFormat) -> None:
    """What came of it, and nothing of what was sent: no path, no address, no token."""
    stream = io.StringIO()
    settings = f"request_ids = true\nrequests = 1\nformat = '{form}'"
    async with served(NAMED.replace("request_ids = true", settings)) as server:
        log = application(server).log
        assert log is not None
        log._stream = stream
        secret = {"Authorization": "Bearer very-secret-token"}
        made = await server.client.post("/register", json={**CLIENT, "client_name": "hush"})
        await server.client.get(f"/register/{made.json()['client_id']}", headers=secret)
        await server.client.request("BREW", "/%0d%0aforged?code=very-secret-code", headers={"User-Agent": "hush"})
        log._write(log._taken())

    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    for hidden in ("very-secret", "hush", "forged", "127.0.0.1", made.json()["client_id"], "BREW"):
        assert hidden not in stream.getvalue()
    assert made.headers["x-request-id"] in lines[0]
    if form is LogFormat.JSON:
        first, second, third = map(json.loads, lines)
        assert {name: first[name] for name in ("issuer", "endpoint", "method", "status")} == {
            "issuer": "main",
            "endpoint": "registration_endpoint",
            "method": "POST",
            "status": 201,
        }
        assert (second["status"], second["error"]) == (401, "invalid_token")
        assert (third["status"], third["method"]) == (404, "other")


def application(server: Any) -> Any:
    """The observer of a served application."""
    return server.client._transport.app._observer


@pytest.mark.anyio
async def test_a_share_of_requests_has_lines() -> None:
    """And every failure of ours."""
    text = NAMED.replace("request_ids = true", "requests = 0.000001")
    async with served(text) as server:
        log = application(server).log
        for _ in range(50):
            await server.client.get("/healthz")
        await server.registry.store.close()
        assert (await server.client.get("/readyz")).status_code == 503
        assert [line["status"] for line in log._taken()] == [503]


@pytest.mark.anyio
async def test_lines_are_bounded_and_written_at_the_end() -> None:
    """A disk that is slow costs lines, never memory, and what was gathered is written when the server stops."""
    stream = io.StringIO()
    log = RequestLog(Log(format=LogFormat.JSON), stream)
    for _ in range(MOST_LINES + 7):
        log.add({"status": 200})
    task = asyncio.get_running_loop().create_task(log.keep_writing())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    lines = stream.getvalue().splitlines()

    assert len(lines) == MOST_LINES + 1
    assert json.loads(lines[-1])["left_out"] == 7


@given(some.text(), some.text())
def test_any_message_is_one_line(message: str, argument: str) -> None:
    """In both forms, and it can be written as UTF-8."""
    record = logging.LogRecord("registrar", logging.INFO, "", 0, message.replace("%", "%%") + "%s", (argument,), None)
    for formatter in (logs.Text(), logs.Json()):
        line = formatter.format(record)
        assert len(line.split("\n")) == 1
        line.encode()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("requests = 1.5", "is a share from 0 to 1"),
        ("requests = -1", "is a share from 0 to 1"),
        ("requests = nan", "needs a number"),
        ("format = 'xml'", "is one of text, json"),
        ("level = 'all'", "is one of debug"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: str, said: str) -> None:
    """At the start."""
    with pytest.raises(ConfigurationError, match=said):
        parse(Document("test", f"[server.log]\n{settings}\n{OPEN}"))


def test_a_real_server_writes_json(start: Start) -> None:
    """From its first line to its last, requests too."""
    program = start(f"{configuration()}\n[server.log]\nformat = 'json'\nrequest_ids = true\nrequests = 1").listening()
    [made] = program.send(request("POST", "/register", CLIENT, "X-Request-Id: mine", "Connection: close"))
    assert made.status == 201
    assert program.stop() == 0

    lines = [json.loads(line) for line in program.lines]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    [line] = [one for one in lines if one["logger"] == "registrar.requests"]
    assert line["request_id"] == made.headers["x-request-id"] != "mine"
    assert line["status"] == 201
