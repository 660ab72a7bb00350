"""`registrar demo`: the life of a client at a real server, step by step, and a check that each step is as explained.

Every request is one of the client library's, witnessed on its way, so what is shown is what any program would send.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NoReturn

import click

from registrar.cli import operating
from registrar.cli.render import Failure, Output, printable
from registrar.client import (
    ClientInformation,
    ProtocolError,
    RegistrarClientError,
    RegistrationLost,
    RegistrationRefused,
    Request,
    RequestInvalid,
    Response,
    ServerMetadata,
    SyncRegistrationClient,
)
from registrar.client.client_information import CREDENTIALS
from registrar.client.message import read_object
from registrar.client.wire import build_discovery
from registrar.config import Configuration, development
from registrar.service.ports import EventQuery

_WIDTH: Final = 96
_LONGEST: Final = 120
_SECRET: Final = 6
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 25.0
_ATTEMPTS: Final = 3
_MORE: Final = "..."

_SOUND: Final[Mapping[str, Any]] = {
    "client_name": "Registrar demo",
    "client_uri": "https://app.example",
    "redirect_uris": ["https://app.example/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
}
_UNSOUND: Final[Mapping[str, Any]] = {
    "client_name": "Registrar demo",
    "client_uri": "app.example",
    "redirect_uris": ["https://app.example/callback#fragment", "javascript:alert(1)"],
    "token_endpoint_auth_method": "carrier_pigeon",
}
# A fault names a member, or an element of it.
_FAULTY: Final = frozenset({"client_uri", "redirect_uris", "token_endpoint_auth_method"})


class Unexpected(Exception):  # noqa: N818 (what happened, not a mistake of the caller)
    """A step that does not behave as it was explained."""


class _Witness(SyncRegistrationClient):
    """The library's client, with the last message and its answer kept for showing."""

    last: tuple[Request, Response] | None = None

    def exchange(self, request: Request) -> Response:
        """Carry the message and keep both."""
        response = super().exchange(request)
        self.last = (request, response)
        return response


@dataclass(slots=True)
class Life:
    """A client while it lives: what the steps so far have found out."""

    issuer: str
    client: _Witness
    token: str | None = None
    desk: Configuration | None = None
    """How the operator reaches the server's registry; None at a server of somebody else."""
    server: ServerMetadata | None = None
    information: ClientInformation | None = None
    first_secret: str | None = None
    gone: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def discovered(self) -> ServerMetadata:
        """What discovery found."""
        assert self.server is not None
        return self.server

    @property
    def registered(self) -> ClientInformation:
        """The registration as it was last answered."""
        assert self.information is not None
        return self.information


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, what is about to happen and why, how it is done and checked, and what of the answer to show."""

    name: str
    explanation: str
    act: Callable[[Life], None]
    shown: tuple[str, ...] = ()
    operator: bool = False
    """Whether it needs the operator's desk."""
    command: str = ""
    """What the operator types."""


def play_at_own_server(output: Output) -> None:
    """Play at a server that is started for it, and stopped at the end."""
    with temporary_server() as (configuration, url):
        output.say(f"A server of its own runs at {url} for this, as `registrar serve --dev` starts one.")
        play(url, None, output, configuration)


def play(issuer: str, token: str | None, output: Output, desk: Configuration | None = None) -> None:
    """Play every step that can be played at an issuer; the first that is not as explained ends it.

    Raises:
        Failure: a step was not as explained.
        UsageError: the issuer's URL cannot be used.
    """
    try:
        build_discovery(issuer)
    except RequestInvalid as fault:
        raise click.UsageError(str(fault)) from None
    steps = [step for step in STEPS if desk is not None or not step.operator]
    with _Witness() as client:
        life = Life(issuer, client, token, desk)
        try:
            for number, step in enumerate(steps, 1):
                client.last = None
                problem = _played(step, life)
                _tell(number, step, life, problem, output)
                if problem:
                    raise Failure(f"step {number} ({step.name}) is not as explained: {problem}")
        finally:
            _clean_up(life)
    output.say("")
    output.say(f"All {len(steps)} steps were as explained.")


def _played(step: Step, life: Life) -> str:
    """What was not as explained; empty if everything was."""
    try:
        step.act(life)
    except (Unexpected, RegistrarClientError, Failure) as problem:
        return str(problem) or type(problem).__name__
    return ""


def _clean_up(life: Life) -> None:
    """A demonstration that fails half-way leaves no client behind."""
    if life.information is not None and not life.gone:
        with suppress(RegistrarClientError):
            life.client.delete(life.information)


# --- the steps ---------------------------------------------------------------------------------------------------------


def _expect(holds: object, problem: str) -> None:
    if not holds:
        raise Unexpected(problem)


def _discover(life: Life) -> None:
    life.server = life.client.discover(life.issuer)
    _expect(life.server.registration_endpoint, "the metadata have no registration endpoint")


def _be_refused(life: Life) -> None:
    try:
        life.information = life.client.register(life.discovered, _UNSOUND, life.token)
    except RegistrationRefused as refusal:
        named = {member for fault in refusal.faults for member in _FAULTY if (fault.member or "").startswith(member)}
        _expect(named == _FAULTY, f"no fault names {', '.join(sorted(_FAULTY - named))}")
        return
    raise Unexpected("it was registered")


def _register(life: Life) -> None:
    life.information = life.client.register(life.discovered, _SOUND, life.token)
    life.first_secret = life.registered.client_secret
    _expect(life.first_secret, "a client that authenticates with a secret got none")
    _expect(life.registered.registration_access_token, "there is no registration access token")
    _expect(life.registered.registration_client_uri, "there is no registration_client_uri")
    members = ", ".join(difference.member for difference in life.registered.differences(_SOUND))
    _expect(not members, f"registered otherwise than asked: {members}")


def _read(life: Life) -> None:
    before = dict(life.registered.members)
    life.information = life.client.read(life.registered)
    told = {name for name in before if name not in CREDENTIALS and before[name] != life.registered.members.get(name)}
    _expect(not told, f"otherwise than registered: {', '.join(sorted(told))}")


def _update(life: Life) -> None:
    life.information = life.client.update(life.registered, client_name="Registrar demo, renamed", client_uri=None)
    members = life.registered.members
    _expect(members.get("client_name") == "Registrar demo, renamed", "the new name was not taken")
    _expect("client_uri" not in members, "the omitted client_uri is still there")


def _be_a_stranger(life: Life) -> None:
    forged = dict(life.registered.members) | {"registration_access_token": "a-token-that-was-never-issued"}
    try:
        life.client.read(replace(life.registered, members=forged))
    except RegistrationLost:
        return
    raise Unexpected("a token that was never issued opened the registration")


def _rotate(life: Life) -> None:
    assert life.desk is not None
    minted = ""

    async def act(desk: operating.Desk) -> None:
        nonlocal minted
        minted, _ = await operating.rotate_secret(desk, life.registered.client_id, None)

    operating.run(life.desk, "", act)
    life.information = life.client.read(life.registered)
    _expect(life.registered.client_secret == minted, "the read does not answer the new secret")
    _expect(minted != life.first_secret, "the secret is the old one")


def _delete(life: Life) -> None:
    life.client.delete(life.registered)
    life.gone = True


def _read_no_more(life: Life) -> None:
    try:
        life.client.read(life.registered)
    except RegistrationLost:
        return
    raise Unexpected("the deleted client can still be read")


def _audit(life: Life) -> None:
    assert life.desk is not None

    async def act(desk: operating.Desk) -> None:
        stored = await desk.registry.store.events(EventQuery(issuer=desk.issuer.name))
        life.events = [json.loads(one.event.body) for one in stored]

    operating.run(life.desk, "", act)
    kinds = {event["kind"] for event in life.events}
    _expect(kinds >= _LEFT, f"no event tells of {', '.join(sorted(_LEFT - kinds))}")
    bodies = json.dumps(life.events)
    issued = [life.registered.members[name] for name in CREDENTIALS if name in life.registered.members]
    _expect(not any(secret in bodies for secret in issued), "an event holds a credential")


_LEFT: Final = frozenset(
    {
        "registration.refused",
        "client.registered",
        "client.read",
        "client.updated",
        "client.secret_rotated",
        "client.deleted",
    }
)

_REGISTRATION: Final = (
    "client_id",
    "client_secret",
    "client_name",
    "client_uri",
    "registration_client_uri",
    "registration_access_token",
)

STEPS: Final = (
    Step(
        "discovery",
        "A client knows the URL of an issuer and nothing else. The metadata that it finds there say where to register "
        "(RFC 8414).",
        _discover,
        ("issuer", "registration_endpoint"),
    ),
    Step(
        "refusal",
        "A registration with mistakes is refused, and the answer names all of them at once, each with the rule that it "
        "breaks and what would be accepted. Nothing is stored.",
        _be_refused,
        ("error", "error_description", "faults"),
    ),
    Step(
        "registration",
        "A sound registration is answered with an identifier, a secret, and the address and token with which the "
        "client manages itself from now on (RFC 7591).",
        _register,
        _REGISTRATION,
    ),
    Step("read", "With that token the client reads what is registered (RFC 7592 section 2.1).", _read, _REGISTRATION),
    Step(
        "update",
        "An update replaces the whole registration: this one changes the name and leaves client_uri out, so client_uri "
        "is gone (RFC 7592 section 2.2).",
        _update,
        _REGISTRATION,
    ),
    Step(
        "stranger",
        "A token that is not this client's is answered 401, the same whether the client exists or not.",
        _be_a_stranger,
        ("error", "error_description"),
    ),
    Step(
        "rotation",
        "The operator gives the client a new secret. The client gets it at its next read, and the old one goes on "
        "working for a while, so nothing breaks in between.",
        _rotate,
        _REGISTRATION,
        operator=True,
        command="registrar client rotate-secret {client_id}",
    ),
    Step(
        "deletion", "The client ends its registration; every credential stops working (RFC 7592 section 2.3).", _delete
    ),
    Step(
        "read after deletion",
        "Afterwards the token is unknown like any other: 401, never 404.",
        _read_no_more,
        ("error", "error_description"),
    ),
    Step(
        "audit",
        "Every step has left an event, refusals too. None holds a secret or a token.",
        _audit,
        operator=True,
    ),
)


# --- telling -----------------------------------------------------------------------------------------------------------


def _tell(number: int, step: Step, life: Life, problem: str, output: Output) -> None:
    told = _told(step, life)
    if output.as_json:
        output.dump(
            {"step": number, "name": step.name, "explanation": step.explanation}
            | told
            | {"as_explained": not problem, "problem": problem or None},
            indent=None,
        )
        return
    click.echo()
    click.secho(f"{number}. {step.name.capitalize()}", bold=True)
    click.echo(click.wrap_text(step.explanation, _WIDTH, "   ", "   "))
    click.echo()
    for line in _transcript(told):
        click.echo(f"     {printable(line)}")
    for event in life.events:
        line = f"{event['kind']:<26} by {event['actor']:<10} {event.get('endpoint', '')}"
        click.echo(f"     {printable(line).rstrip()}")
    if problem:
        click.secho(f"   not as explained: {printable(problem)}", fg="red")
    else:
        click.secho("   as explained", fg="green")


def _told(step: Step, life: Life) -> dict[str, Any]:
    """What passed, with everything long shortened and every credential cut."""
    told: dict[str, Any] = {}
    if step.command and life.information is not None:
        told["command"] = step.command.format(client_id=life.registered.client_id)
    if life.client.last is not None:
        request, response = life.client.last
        told["request"] = {"method": request.method, "url": request.url}
        if "authorization" in request.headers:
            told["request"]["authorization"] = (
                f"Bearer {_cut(request.headers['authorization'].removeprefix('Bearer '))}"
            )
        if request.body is not None:
            told["request"]["body"] = _part(json.loads(request.body), (*step.shown, *_UNSOUND, *_SOUND))
        told["status"] = response.status
        try:
            told["answer"] = _part(read_object(response), step.shown)
        except ProtocolError:
            told["answer"] = {}  # a 204, or a page that some proxy has put in the answer's place
    if life.events:
        told["events"] = life.events
    return told


def _part(members: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The members that a step is about, and how many others there are."""
    part: dict[str, Any] = _short({name: value for name, value in members.items() if name in names})
    more = len(members) - len(part)
    return part | ({_MORE: f"{more} more members"} if more else {})


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, dict):
        return {
            name: _cut(item) if name in CREDENTIALS and isinstance(item, str) else _short(item)
            for name, item in value.items()
        }
    return value


def _cut(secret: str) -> str:
    return f"{secret[:_SECRET]}..."


def _transcript(told: Mapping[str, Any]) -> Iterator[str]:
    if "command" in told:
        yield f"$ {told['command']}"
    if "request" not in told:
        return
    request = told["request"]
    yield f"{request['method']} {request['url']}"
    if "authorization" in request:
        yield f"Authorization: {request['authorization']}"
    yield from _members(request.get("body", {}))
    yield f"-> {told['status']}"
    yield from _members(told["answer"])


def _members(members: Mapping[str, Any]) -> Iterator[str]:
    for name, value in members.items():
        if name == _MORE:
            yield f"  {_MORE} {value}"
        elif name == "faults" and isinstance(value, list):
            yield "  faults:"
            for fault in (row for row in value if isinstance(row, dict)):
                yield f"    {fault.get('member')}: {fault.get('reason')}"
                yield f"      accepted: {fault.get('accepted')}; rule: {fault.get('rule')}"
        else:
            yield f"  {name}: {value if isinstance(value, str) else json.dumps(value)}"


# --- a server of its own -------------------------------------------------------------------------------------------------


@contextmanager
def temporary_server() -> Iterator[tuple[Configuration, str]]:
    """A server in a process and a folder of its own, and both gone afterwards.

    Raises:
        Failure: it does not start.
    """
    with _ended_by_signals(), TemporaryDirectory(prefix="registrar-demo-") as folder:
        said = ""
        for _ in range(_ATTEMPTS):  # somebody else may take the port between the looking and the serving
            port = free_port()
            with started(Path(folder), port, "--dev") as ready:
                if ready:
                    database = f"sqlite:///{folder}/var/registrar.db"
                    yield development(port, database), f"http://127.0.0.1:{port}"
                    return
            said = (Path(folder) / "log").read_text("utf-8", "replace").strip().rpartition("\n")[2]
        raise Failure(f"the temporary server does not start: {said}")


@contextmanager
def started(folder: Path, port: int, *options: str) -> Iterator[bool]:
    """`registrar serve` in a process that works in `folder`, and writes its log there; whether it became ready."""
    command = [sys.executable, "-m", "registrar", "serve", *options, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 (ourselves)
        try:
            yield _answers(process, port)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server becomes ready before its time is over or it ends."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:  # noqa: PLR2004 (OK)
                return process.poll() is None
        except (OSError, HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    return False


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End in order when told to, so that the server ends too: the default would end this process alone."""

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
