"""The administration API: what operators do, under `/admin/api` of each issuer, with tokens of the kind `operator`.

One table of routes. Each calls the use case that the command line calls, so that what is refused there is refused here
and told in the same words. It is off unless the issuer's settings say `admin_api = true`.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec
from msgspec.structs import asdict

from registrar.domain.access_token import ADMINISTRATION, SCOPE, InitialAccessToken, Kind, ShownToken, TokenStatus
from registrar.domain.client import Assurance, Client, ClientInformation, ShownClient
from registrar.domain.errors import BearerError, ProtocolError, RegistrationError
from registrar.domain.findings import shown
from registrar.domain.metadata import Presented, SignedRequest
from registrar.http import answers, certificates, openapi, wire
from registrar.http.answers import Accepted, Created, Given, Jwt, Tagged
from registrar.http.endpoints import Exchange, address_of
from registrar.http.wire import Answer, Fields, Scope
from registrar.policy import comparison
from registrar.policy.comparison import ShownPolicy
from registrar.service import (
    administration,
    admission,
    bulk,
    client_administration,
    explanation,
    inventory,
    labels,
    receipts,
    review,
    statements,
    templates,
    webhooks,
)
from registrar.service import limits as rates
from registrar.service.administration import Operator, Refused, ReissuedToken, Unknown
from registrar.service.audit import Caller
from registrar.service.bulk import Job, Selection, ShownJob
from registrar.service.explanation import Explanation
from registrar.service.inventory import Filters, Statistics
from registrar.service.registry import Issuer, Registry
from registrar.service.review import ShownReview
from registrar.service.statements import ShownStatement
from registrar.service.webhooks import ShownWebhook, Trial

PREFIX: Final = "/admin/api/"
"""What stands between the path of an issuer and that of a route below."""

_SURVEYED: Final = 10_000
"""Clients that a dry run over HTTP looks at."""
_TOKENS: Final = 200
"""Initial access tokens that are read at once where those within labels are looked for."""
_LATEST: Final = 10**11
"""The last second that a request may name, some three thousand years from now."""
_NAME: Final = 128
"""Characters of a segment of a path that the audit keeps."""
_MESSAGE_LENGTH: Final = 1_000
"""Characters of a message: enough for every list of what there is."""
_MESSAGE: Final = {ord('"'): "'", ord("\\"): "/"}
_NOTHING: Final[Mapping[str, Any]] = {}


class Call(NamedTuple):
    """One call: where, by whom, about what, and what came with it."""

    registry: Registry
    issuer: Issuer
    operator: Operator
    token: InitialAccessToken
    name: str
    """The segment of the path that is a name; empty where the route has none."""
    body: dict[str, Any]
    query: Mapping[str, str]
    seen: tuple[str, ...] | None = None
    """The entity tags of which one has to be there (RFC 9110 §13.1.1); None where anything may."""

    @property
    def acting(self) -> tuple[Registry, Issuer, Operator]:
        """The first arguments of an act."""
        return self.registry, self.issuer, self.operator

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self.registry.clock() // 1000


Act = Callable[[Call], Awaitable[Given]]
"""What it gives is what its annotation says: `openapi` describes that, with the status of `answers`."""


class Row(NamedTuple):
    """A route: method, path below `PREFIX` with `{}` for a name, the scope that opens it, and what it does."""

    method: str
    path: str
    scope: str
    act: Act
    takes: type[msgspec.Struct] | None = None
    """The body, where it has one; client metadata where it is `Metadata`."""
    confined: bool = False
    """Whether a token that administers within labels may call it: what it does keeps within them."""
    of_client: bool = False
    """Whether the name is a client's, which then has to be within the labels of the token."""
    asks: tuple[str, ...] = ()
    """The parameters of the query."""
    conditional: bool = False
    """Whether it asks what is there, by `If-Match`."""


async def serve(exchange: Exchange) -> Answer:
    """Answer a call of the administration API.

    Raises:
        ProtocolError: 401 and 403 as RFC 6750 has them, 404, 405, 409, or what is wrong with the body.
    """
    registry, issuer, _, scope, _, path = exchange
    if path == DOCUMENT and scope["method"] in ("GET", "HEAD"):
        return wire.answer(200, await asyncio.to_thread(document, issuer))
    door = f"{issuer.url}{PREFIX}{path[:_NAME]}"
    address = address_of(scope)
    caller = Caller(door, address=address)
    body: dict[str, Any] = {}
    try:
        given = wire.fields(scope["headers"])
        attestation = wire.attestation(scope) if issuer.attest else ""
        token, certificate = wire.bearer(scope, given), certificates.presented(scope)
        caller = Caller(door, token, address, certificate, attestation=attestation)
        if token is not None:
            await rates.arrives(registry, issuer, address, token=True)
        row, name = _row(scope["method"], path)
        held = await admission.operator(registry, issuer, caller, row.scope)
        if held.within:
            await _check_within(registry, issuer, held, row, name)
        body = await _body(exchange, given)
        query = dict(parse_qsl(scope["query_string"].decode("ascii", "replace")))
        operator = Operator(held.owner, door, held.token_id, address, held.ceiling)
        call = Call(registry, issuer, operator, held, name, body, query, _seen(scope))
        return answers.answer(await row.act(call))
    except Unknown as problem:
        raise await _refused(exchange, caller, ProtocolError("not_found", _said(problem)), body) from None
    except Refused as problem:
        raise await _refused(exchange, caller, ProtocolError("conflict", _said(problem)), body) from None
    except ProtocolError as error:
        if error.kind.name == "invalid_token":
            await rates.bad_token(registry, issuer, address)
        await _refused(exchange, caller, error, body)
        raise


def _seen(scope: Scope) -> tuple[str, ...] | None:
    """What `If-Match` names; a list, so that several of the header are one."""
    named = [value.decode("latin-1") for field, value in scope["headers"] if field == b"if-match"]
    return tuple(one.strip() for one in ",".join(named).split(",")) if named else None


async def _check_within(registry: Registry, issuer: Issuer, held: InitialAccessToken, row: Row, name: str) -> None:
    """Keep a token within its labels: what is not within does not exist for it.

    Raises:
        Unknown: the client is none of those.
        BearerError: `insufficient_scope`; what the route does cannot be kept within labels.
    """
    if not row.confined:
        raise BearerError("insufficient_scope", "This token administers within labels, and this is not within any.")
    if row.of_client:
        client = await registry.store.find(issuer.name, name)
        if client is None or not held.within.items() <= client.labels.items():
            raise Unknown(f"there is no client {name} at {issuer.name}")


async def _body(exchange: Exchange, given: Fields) -> dict[str, Any]:
    """One JSON object, or nothing at all, which is an empty one."""
    limits = exchange.limits
    content = await wire.read_body(given, exchange.receive, limits.body_bytes, limits.body_seconds)
    if not content:
        return {}
    if wire.check_media_type(given):
        raise ProtocolError("unsupported_media_type", "The body must be application/json.")
    return wire.read_object(content)


async def _refused(exchange: Exchange, caller: Caller, error: ProtocolError, body: Mapping[str, Any]) -> ProtocolError:
    issuer = exchange.issuer
    quota = issuer.settings.audit.refusals_per_minute
    requested = body if isinstance(error, RegistrationError) else _NOTHING
    await exchange.registry.audit.refused(issuer.name, quota, caller, error, requested, kind="administration.refused")
    return error


def _row(method: str, path: str) -> tuple[Row, str]:
    """The route of a path, and the name in it.

    Raises:
        ProtocolError: `not_found`, or `method_not_allowed`.
    """
    segments = path.split("/")
    found: dict[str, tuple[Row, str]] = {}
    for row in ROUTES:
        pattern = row.path.split("/")
        if len(pattern) == len(segments) and all(
            one == other or (one == "{}" and other) for one, other in zip(pattern, segments, strict=True)
        ):
            found[row.method] = (row, segments[1] if len(segments) > 1 else "")
    if not found:
        raise ProtocolError("not_found")
    if method not in found:
        raise ProtocolError("method_not_allowed", headers=[(b"allow", ", ".join(found).encode())])
    return found[method]


def _said(problem: Exception) -> str:
    """A message as an error may hold it (RFC 6749 §5.2); one that repeats a name of a path is cut off, as the audit has it."""
    text = str(problem)
    kept = text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}..."
    return kept.encode("ascii", "replace").decode("ascii").translate(_MESSAGE)


_Wanted = TypeVar("_Wanted")


def _read(call: Call, kind: type[_Wanted]) -> _Wanted:
    """The body as what a route takes.

    Raises:
        ProtocolError: `invalid_request`, saying what is wrong.
    """
    try:
        return msgspec.convert(call.body, kind)
    except msgspec.ValidationError as problem:
        raise _not_taken(problem, kind) from None


def _not_taken(problem: msgspec.ValidationError, kind: type) -> ProtocolError:
    """What is wrong with a body or a query, and what would be taken in its place where that is one of a few."""
    said = shown(_said(problem))
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    at = re.search(r"`\$\.(\w+)`", said)
    accepted = _few(fields.get(at[1])) if at else [*fields] if "unknown field" in said else []
    return ProtocolError("invalid_request", f"{said}. Accepted: {', '.join(accepted)}." if accepted else said)


def _few(kind: Any) -> list[str]:
    """The values of a type that has only a few."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, enum.Enum):
            return [member.value for member in one]
    return [one for one in get_args(kind) if isinstance(one, str) and one]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A body of which every member is known."""


Why = Annotated[str, msgspec.Meta(max_length=administration.REASON)]
"""A reason or another such text, of no more characters than an event holds of it."""


class Reason(_Strict, frozen=True):
    """Why; it goes into the audit."""

    reason: Why = ""
    """In the words of whoever acts."""


class Explained(_Strict, frozen=True):
    """A request to be explained, and who is supposed to send it."""

    request: dict[str, Any] | str
    """What would be sent: an object, or a JWT as a string."""
    assurance: Assurance = Assurance.OPEN
    """What was verified of the sender."""
    token_scope: str = ""
    """The scopes of the sender's token, with spaces between."""
    client_class: str = msgspec.field(name="class", default="")
    """The class of the sender."""
    owner: str = ""
    """The person whose token it would be."""


class TemplateWanted(_Strict, frozen=True):
    """A template as it is to be."""

    metadata: Presented
    """What its instances have; judged as a registration is."""
    template_id: str = ""
    """Its name, where it is created."""
    allowed: list[str] = []
    """The members that an instance may choose for itself."""
    policy: str = ""
    """The policies that judge it and its instances, with spaces between; the issuer's own by default."""
    description: Why = ""
    """What it is for, for people."""
    version: int | None = None
    """Where it is changed: the version that was seen."""

    def wanted(self) -> templates.Wanted:
        """As the use case takes it."""
        return templates.Wanted(self.metadata, tuple(self.allowed), self.policy, self.description)


class StatementWanted(_Strict, frozen=True):
    """A software statement as it is to be."""

    software_id: str
    """The software that it is about."""
    members: Presented = Presented({})
    """The client metadata that it attests."""
    expires_in: int = statements.LIFETIME
    """Seconds until it ends."""
    algorithm: str = statements.ALGORITHMS[0]
    """How it is signed."""
    once: bool = True
    """Whether it registers once and never again."""


class Metadata(msgspec.Struct):
    """Client metadata, as a registration has it."""


class LabelsWanted(_Strict, frozen=True):
    """The labels that are set; an empty value takes one away."""

    labels: dict[str, str]
    """Label -> value."""


class TokenWanted(_Strict, frozen=True):
    """An initial access token as it is to be."""

    kind: Kind = Kind.CLIENT
    """Who earned it, which decides the modes that admit it."""
    scope: str = SCOPE
    """Its scopes, with spaces between."""
    policy: str = ""
    """The policy that judges what is registered with it; the issuer's own by default."""
    label: Why = ""
    """What it is called, for people."""
    owner: Why = ""
    """The person whose it is."""
    max_uses: int = 1
    """How many registrations it is good for; 0 is unlimited."""
    expires_in: int = 0
    """Seconds until it ends; 0 is never."""
    labels: dict[str, str] = {}
    """What every client is labelled with that is registered with it."""
    within: dict[str, str] = {}
    """The labels of all that it administers."""


class RevocationWanted(_Strict, frozen=True):
    """How an initial access token is revoked."""

    cascade: Literal["", "suspend", "delete"] = ""
    """What becomes of the clients registered with it."""


class RotationWanted(_Strict, frozen=True):
    """How a secret is replaced."""

    overlap: Annotated[int, msgspec.Meta(ge=0, le=administration.LARGEST)] | None = None
    """Seconds for which the old one still works; the issuer's setting by default."""
    reason: Why = ""
    """Why; it goes into the audit."""


class JobWanted(_Strict, frozen=True):
    """What is done to many clients."""

    act: bulk.Act
    """What is done to each."""
    selection: Selection
    """To which."""
    reason: Why = ""
    """Why; it goes into the audit."""
    overlap: Annotated[int, msgspec.Meta(ge=0, le=administration.LARGEST)] | None = None
    """Seconds for which replaced secrets still work; the issuer's setting by default."""
    dry_run: bool = False
    """Whether it is only counted what would be done."""


class ReplayWanted(_Strict, frozen=True):
    """Which messages are sent again."""

    ids: list[str] = []
    """Those of these identifiers, out of the log."""
    since: Annotated[int, msgspec.Meta(ge=0, le=_LATEST)] = 0
    """Those of events from this time on, in seconds since 1970."""
    until: Annotated[int, msgspec.Meta(ge=0, le=_LATEST)] = 0
    """And before this time; now by default."""
    given_up: bool = False
    """Those that were given up."""


# --- policies ---------------------------------------------------------------------------------------------------------


async def _list_policies(call: Call) -> answers.Policies:
    rows = [
        answers.PolicyRow(name=name, description=policy.description, digest=policy.digest)
        for name, policy in sorted(call.issuer.policies.items())
    ]
    return answers.Policies(policies=rows, policy=call.issuer.policy.name)


async def _show_policy(call: Call) -> ShownPolicy:
    if call.name not in call.issuer.policies:
        raise Unknown(f"there is no policy {call.name} at {call.issuer.name}")
    return comparison.public(call.issuer.policies[call.name])


async def _explain(call: Call) -> Explanation:
    asked = _read(call, Explained)
    if any(name not in call.issuer.policies for name in call.name.split()):
        raise Unknown(f"there is no policy {call.name} at {call.issuer.name}")
    body = SignedRequest(asked.request) if isinstance(asked.request, str) else Presented(asked.request)
    supposed = explanation.Supposed(asked.assurance, tuple(asked.token_scope.split()), asked.client_class, asked.owner)
    return await explanation.explain(call.registry, call.issuer, call.name, body, supposed)


# --- templates --------------------------------------------------------------------------------------------------------


async def _list_templates(call: Call) -> answers.Templates:
    found = templates.every(call.registry, call.issuer, call.query.get("after", ""))
    rows, after = await _page(call, "template_id", (one.public() async for one in found))
    return answers.Templates(templates=rows, after=after)


async def _create_template(call: Call) -> Created[answers.ChangedTemplate]:
    asked = _read(call, TemplateWanted)
    return Created(_changed(await templates.create(*call.acting, asked.template_id, asked.wanted())))


async def _show_template(call: Call) -> answers.TemplateInUse:
    found = await templates.find(call.registry, call.issuer, call.name)
    instances = await templates.instances_of(call.registry, call.issuer, call.name)
    return answers.TemplateInUse(**asdict(found.public()), instances=instances)


async def _change_template(call: Call) -> answers.ChangedTemplate:
    asked = _read(call, TemplateWanted)
    if asked.template_id not in ("", call.name):
        raise ProtocolError("invalid_request", "template_id is another one than that of the path.")
    return _changed(await templates.change(*call.acting, call.name, asked.wanted(), expected=asked.version))


async def _enable_template(call: Call) -> answers.ChangedTemplate:
    return _changed(await templates.enable(*call.acting, call.name, _read(call, Reason).reason))


async def _disable_template(call: Call) -> answers.ChangedTemplate:
    return _changed(await templates.disable(*call.acting, call.name, _read(call, Reason).reason))


async def _delete_template(call: Call) -> answers.ChangedTemplate:
    return _changed(await templates.delete(*call.acting, call.name, _read(call, Reason).reason))


def _changed(changed: templates.Changed) -> answers.ChangedTemplate:
    return answers.ChangedTemplate(**asdict(changed.template.public()), waiting=changed.waiting)


# --- software statements ----------------------------------------------------------------------------------------------


async def _list_statements(call: Call) -> answers.Statements:
    found = statements.every(call.registry, call.issuer, call.query.get("after", ""))
    rows, after = await _page(call, "jti", (one.public(call.now) async for one in found))
    return answers.Statements(statements=rows, after=after)


async def _issue_statement(call: Call) -> Created[answers.IssuedStatement]:
    asked = _read(call, StatementWanted)
    compact, issued = await statements.issue(
        *call.acting,
        asked.members,
        software_id=asked.software_id,
        lifetime=asked.expires_in,
        algorithm=asked.algorithm,
        once=asked.once,
    )
    return Created(answers.IssuedStatement(software_statement=compact, **asdict(issued.public(call.now))))


async def _show_statement(call: Call) -> ShownStatement:
    return (await statements.find(call.registry, call.issuer, call.name)).public(call.now)


async def _revoke_statement(call: Call) -> ShownStatement:
    revoked = await statements.revoke(*call.acting, call.name, _read(call, Reason).reason)
    return revoked.public(call.now)


# --- initial access tokens --------------------------------------------------------------------------------------------


async def _list_tokens(call: Call) -> answers.Tokens:
    rows, looked, limit = list[ShownToken](), 0, _limit(call)
    async for one in _tokens(call, call.query.get("after", ""), _TOKENS if call.token.within else limit):
        looked += 1
        if _token_within(call, one):
            rows.append(one.public(call.now))
        if len(rows) == limit or looked == inventory.LOOKS:  # a page ends there, full or not
            return answers.Tokens(tokens=rows, after=one.token_id)
    return answers.Tokens(tokens=rows)


async def _tokens(call: Call, after: str, size: int) -> AsyncIterator[InitialAccessToken]:
    while page := await call.registry.store.tokens(call.issuer.name, after=(call.issuer.name, after), limit=size):
        for one in page:
            yield one
        after = page[-1].token_id


def _token_within(call: Call, one: InitialAccessToken) -> bool:
    """Whether a token is one's own tenant's: what labels its clients so may yet administer all tenants."""
    administers = not ADMINISTRATION.keys().isdisjoint(one.scope)
    reached = one.within if administers else {**one.labels, **one.within}
    return call.token.within.items() <= reached.items()


async def _issue_token(call: Call) -> Created[answers.IssuedToken]:
    asked = _read(call, TokenWanted)
    scope = tuple(asked.scope.split())
    if beyond := call.token.beyond(scope):
        raise BearerError("insufficient_scope", f"The token lacks {beyond[0]}, and so does what it issues.")
    if asked.max_uses < 0 or asked.expires_in < 0:
        raise ProtocolError("invalid_request", "max_uses and expires_in are not negative.")
    value, issued = await administration.issue_token(
        *call.acting,
        kind=asked.kind,
        policy=asked.policy,
        label=asked.label,
        owner=asked.owner,
        max_uses=asked.max_uses,
        lifetime=asked.expires_in,
        scope=scope,
        labels=asked.labels,
        within=asked.within,
        under=call.token,
    )
    return Created(answers.IssuedToken(token=value, **asdict(issued.public(call.now))))


async def _revoke_token(call: Call) -> answers.RevokedToken | Accepted[answers.RevokedWithClients]:
    asked = _read(call, RevocationWanted)
    if call.token.within and not any(
        [_token_within(call, one) async for one in _tokens(call, "", _TOKENS) if one.token_id == call.name]
    ):
        raise Unknown(f"there is no initial access token {call.name} at {call.issuer.name}")
    if asked.cascade and "admin.clients" not in call.token.scope:
        raise BearerError("insufficient_scope", "What becomes of clients needs the scope admin.clients.")
    await administration.revoke_token(*call.acting, call.name, again=bool(asked.cascade))
    if not asked.cascade:
        return answers.RevokedToken(token_id=call.name, status=TokenStatus.REVOKED)
    reason = f"the initial access token {call.name} was revoked"
    job = await _started(
        call, bulk.Act(asked.cascade), _narrowed(call, Selection(token=call.name)), reason, whenever=True
    )
    revoked = answers.RevokedWithClients(token_id=call.name, status=TokenStatus.REVOKED, job_id=job.job_id)
    return Accepted(revoked)


# --- webhooks ---------------------------------------------------------------------------------------------------------


async def _list_webhooks(call: Call) -> answers.Webhooks:
    names = sorted(call.registry.webhooks.of(call.issuer.name))
    rows = [await webhooks.public(call.registry, call.issuer, name) for name in names]
    return answers.Webhooks(webhooks=rows)


async def _show_webhook(call: Call) -> ShownWebhook:
    return await webhooks.public(call.registry, call.issuer, call.name)


async def _list_given_up(call: Call) -> answers.Messages:
    found = webhooks.given_up(call.registry, call.issuer, call.name, call.query.get("after", ""))
    rows, after = await _page(call, "key", found)
    return answers.Messages(messages=rows, after=after)


async def _replay_webhook(call: Call) -> answers.Replayed:
    asked = _read(call, ReplayWanted)
    if bool(asked.ids) + asked.given_up + bool(asked.since) != 1:
        raise ProtocolError("invalid_request", "One of ids, since and given_up says what is sent again.")
    acting = (*call.acting, call.name)
    if asked.given_up:
        count = await webhooks.replay_given_up(*acting)
    elif asked.ids:
        count = await webhooks.replay_named(*acting, asked.ids)
    else:
        count = await webhooks.replay(*acting, since_ms=asked.since * 1000, until_ms=asked.until * 1000)
    return answers.Replayed(webhook=call.name, replayed=count)


async def _try_webhook(call: Call) -> Trial:
    return await webhooks.try_out(call.registry, call.issuer, call.name)


async def _enable_webhook(call: Call) -> ShownWebhook:
    await webhooks.enable(*call.acting, call.name, _read(call, Reason).reason)
    return await webhooks.public(call.registry, call.issuer, call.name)


# --- reviews ----------------------------------------------------------------------------------------------------------


class Decided(_Strict, frozen=True):
    """A decision about what is held."""

    digest: str
    """Of what was looked at: nothing else is decided about."""
    reason: Why = ""
    """Why; it goes into the audit."""


async def _list_reviews(call: Call) -> answers.Reviews:
    rows, looked, limit = list[answers.HeldRow](), 0, _limit(call)
    async for one, client in review.every(call.registry, call.issuer, call.query.get("after", "")):
        looked += 1
        if client is not None and call.token.within.items() <= client.labels.items():
            rows.append(
                answers.HeldRow(
                    client_id=one.client_id, what=one.what, digest=one.digest, since=one.since, reason=one.why
                )
            )
        if len(rows) == limit or looked == inventory.LOOKS:  # a page ends there, full or not
            return answers.Reviews(reviews=rows, after=one.client_id)
    return answers.Reviews(reviews=rows)


async def _show_review(call: Call) -> ShownReview:
    return await review.show(call.registry, call.issuer, call.name)


async def _approve(call: Call) -> answers.ChangedClient:
    asked = _read(call, Decided)
    after, secret = await review.approve(*call.acting, call.name, digest=asked.digest, reason=asked.reason)
    return answers.ChangedClient(**asdict(after.public()), client_secret=secret)


async def _reject(call: Call) -> ShownClient:
    asked = _read(call, Decided)
    rejected = await review.reject(*call.acting, call.name, digest=asked.digest, reason=asked.reason)
    return rejected.public()


# --- clients ----------------------------------------------------------------------------------------------------------


def _labels_within(call: Call, asked: Mapping[str, str]) -> dict[str, str]:
    """Labels that are asked for, and those of the token beside them.

    Who asks for another tenant's is refused: to answer with their own instead would let a job for those others, which
    finds nothing, run over everything that is theirs.

    Raises:
        BearerError: `insufficient_scope`; they contradict each other.
    """
    if not call.token.within.items() <= {**call.token.within, **asked}.items():
        raise BearerError("insufficient_scope", "This token administers within labels, and these are others.")
    return {**asked, **call.token.within}


def _filters(call: Call) -> Filters:
    """The filters of a query, within the labels of the token.

    Raises:
        BearerError: `insufficient_scope`; they ask for labels that are not within.
        ProtocolError: `invalid_request`, saying what is wrong.
    """
    asked: dict[str, Any] = {
        name: value for name, value in call.query.items() if name not in ("limit", "after", "order")
    }
    try:
        labelled = labels.parsed(tuple(asked.pop("label", "").split()))
        found = msgspec.convert(asked, Filters, strict=False)
    except msgspec.ValidationError as problem:
        raise _not_taken(problem, Filters) from None
    except Refused as problem:
        raise ProtocolError("invalid_request", _said(problem)) from None
    times = (found.created_from, found.created_before, found.unused_since, found.expires_before, found.keys_before)
    if not all(0 <= time <= _LATEST for time in times):
        raise ProtocolError("invalid_request", f"Times are seconds from 0 to {_LATEST}.")
    return msgspec.structs.replace(found, labels=_labels_within(call, labelled))


async def _list_clients(call: Call) -> answers.Clients:
    limit = _limit(call)
    if (order := call.query.get("order", "oldest")) not in ("oldest", "newest"):
        raise ProtocolError("invalid_request", "The order is oldest or newest, whichever comes first.")
    after, newest = call.query.get("after", ""), order == "newest"
    found = await inventory.page(call.registry, call.issuer, _filters(call), after=after, limit=limit, newest=newest)
    return answers.Clients(clients=[one.public() for one in found.clients], after=found.after)


async def _count_clients(call: Call) -> Statistics:
    return await inventory.statistics(call.registry, call.issuer, _filters(call))


async def _label_client(call: Call) -> ShownClient:
    asked = _read(call, LabelsWanted)
    if not call.token.within.items() <= {**call.token.within, **asked.labels}.items():
        raise BearerError("insufficient_scope", "This token moves no client out of its labels.")
    return (await labels.label(*call.acting, call.name, asked.labels)).public()


async def _create_client(call: Call) -> Created[ClientInformation]:
    token, wanted = call.token, Presented(call.body)
    made = await client_administration.create(
        *call.acting,
        wanted,
        policy=token.policy,
        label=token.label,
        ceiling=token.ceiling,
        bound=token.bound,
        labelled={**token.labels, **token.within},
    )
    return Created(made)


def _tag(client: Client) -> str:
    """The entity tag of what is shown of a client (RFC 9110 §8.8.3): its template may change that without its version."""
    return f'"{hashlib.sha256(wire.answer(200, client.public()).body).hexdigest()[:32]}"'


async def _show_client(call: Call) -> Tagged[ShownClient]:
    found = await administration.find(call.registry, call.issuer, call.name)
    return Tagged(found.public(), _tag(found))


async def _change_client(call: Call) -> Tagged[answers.ChangedClient]:
    seen = call.seen

    def matches(client: Client) -> bool:
        return seen is None or "*" in seen or _tag(client) in seen

    changed, secret = await client_administration.change(*call.acting, call.name, Presented(call.body), matches)
    return Tagged(answers.ChangedClient(**asdict(changed.public()), client_secret=secret), _tag(changed))


async def _show_receipt(call: Call) -> Jwt:
    client = await administration.find(call.registry, call.issuer, call.name)
    return Jwt(await receipts.issue(call.registry, call.issuer, client))


async def _suspend_client(call: Call) -> ShownClient:
    reason = _read(call, Reason).reason
    return (await administration.suspend(*call.acting, call.name, reason)).public()


async def _resume_client(call: Call) -> ShownClient:
    reason = _read(call, Reason).reason
    return (await administration.resume(*call.acting, call.name, reason)).public()


async def _rotate_secret(call: Call) -> answers.RotatedSecret:
    asked = _read(call, RotationWanted)
    secret, changed = await administration.rotate_secret(
        *call.acting, call.name, overlap=asked.overlap, reason=asked.reason
    )
    current, *old = changed.credentials.secrets
    return answers.RotatedSecret(
        client_id=call.name,
        client_secret=secret,
        client_secret_expires_at=current.expires_at,
        old_secret_works_until=old[0].until if old else msgspec.UNSET,
    )


async def _reissue_token(call: Call) -> ReissuedToken:
    token, secret, changed = await administration.reissue_token(*call.acting, call.name, _read(call, Reason).reason)
    return administration.reissued(call.issuer, changed, token, secret)


async def _delete_client(call: Call) -> None:
    await administration.delete(*call.acting, call.name, _read(call, Reason).reason)


# --- jobs -------------------------------------------------------------------------------------------------------------


async def _list_jobs(call: Call) -> answers.Jobs:
    found = bulk.every(call.registry, call.issuer, call.query.get("after", ""))
    mine = (one.public() async for one in found if call.token.within.items() <= one.selection.labels.items())
    rows, after = await _page(call, "job_id", mine)
    return answers.Jobs(jobs=rows, after=after)


def _narrowed(call: Call, selection: Selection) -> Selection:
    """A selection within the labels of the token: also one of everything is of everything within.

    Raises:
        BearerError: `insufficient_scope`; it asks for labels that are not within.
    """
    if not call.token.within:
        return selection
    return msgspec.structs.replace(selection, labels=_labels_within(call, selection.labels), everything=False)


async def _job(call: Call) -> Job:
    """A job that the token may know of.

    Raises:
        Unknown: there is none.
    """
    found = await bulk.find(call.registry, call.issuer, call.name)
    if not call.token.within.items() <= found.selection.labels.items():
        raise Unknown(f"there is no job {call.name} at {call.issuer.name}")
    return found


async def _start_job(call: Call) -> answers.Survey | Accepted[ShownJob]:
    asked = _read(call, JobWanted)
    asked.selection.check()
    asked = msgspec.structs.replace(asked, selection=_narrowed(call, asked.selection))
    if asked.dry_run:
        meant, fit, whole = await bulk.survey(
            call.registry, call.issuer, asked.act, asked.selection, most=_SURVEYED, tell=lambda _: None
        )
        return answers.Survey(act=asked.act, clients=meant, would_change=fit, more=not whole)
    job = await _started(call, asked.act, asked.selection, asked.reason, overlap=asked.overlap)
    return Accepted(job.public())


async def _started(call: Call, act: bulk.Act, selection: Selection, reason: str, **more: Any) -> Job:
    job = await bulk.start(*call.acting, act, selection, reason=reason, at_server=True, **more)
    call.registry.errands.start(bulk.work(call.registry, call.issuer, job.job_id), f"the job {job.job_id}")
    return job


async def _show_job(call: Call) -> ShownJob:
    return (await _job(call)).public()


async def _stop_job(call: Call) -> ShownJob:
    await _job(call)
    return (await bulk.stop(*call.acting, call.name)).public()


# --- pages ------------------------------------------------------------------------------------------------------------


def _limit(call: Call) -> int:
    said = call.query.get("limit", str(answers.PAGE))
    if not (said.isascii() and said.isdigit() and 1 <= int(said[:9]) <= answers.MOST):
        raise ProtocolError("invalid_request", f"limit is a number from 1 to {answers.MOST}.")
    return int(said)


async def _page(call: Call, key: str, found: AsyncIterator[_Wanted]) -> tuple[list[_Wanted], str]:
    """Some of many things, in the order of their names, and the name after which the next page begins."""
    limit = _limit(call)
    rows: list[_Wanted] = []
    async for row in found:
        rows.append(row)
        if len(rows) == limit:
            break
    return rows, _after(rows, key, limit)


def _after(rows: Sequence[object], key: str, limit: int) -> str:
    """Where the next page begins, where there may be one."""
    return str(getattr(rows[-1], key)) if len(rows) == limit else ""


_PAGED: Final = ("limit", "after")
_FILTERS: Final = tuple(
    "label" if field.name == "labels" else field.encode_name for field in msgspec.structs.fields(Filters)
)
ROUTES: Final = (
    Row("GET", "policies", "admin.policies", _list_policies),
    Row("GET", "policies/{}", "admin.policies", _show_policy),
    Row("POST", "policies/{}/explain", "admin.policies", _explain, takes=Explained),
    Row("GET", "templates", "admin.templates", _list_templates, asks=_PAGED),
    Row("POST", "templates", "admin.templates", _create_template, takes=TemplateWanted),
    Row("GET", "templates/{}", "admin.templates", _show_template),
    Row("PUT", "templates/{}", "admin.templates", _change_template, takes=TemplateWanted),
    Row("DELETE", "templates/{}", "admin.templates", _delete_template, takes=Reason),
    Row("POST", "templates/{}/enable", "admin.templates", _enable_template, takes=Reason),
    Row("POST", "templates/{}/disable", "admin.templates", _disable_template, takes=Reason),
    Row("GET", "statements", "admin.statements", _list_statements, asks=_PAGED),
    Row("POST", "statements", "admin.statements", _issue_statement, takes=StatementWanted),
    Row("GET", "statements/{}", "admin.statements", _show_statement),
    Row("POST", "statements/{}/revoke", "admin.statements", _revoke_statement, takes=Reason),
    Row("GET", "tokens", "admin.tokens", _list_tokens, confined=True, asks=_PAGED),
    Row("POST", "tokens", "admin.tokens", _issue_token, takes=TokenWanted, confined=True),
    Row("POST", "tokens/{}/revoke", "admin.tokens", _revoke_token, takes=RevocationWanted, confined=True),
    Row("GET", "webhooks", "admin.webhooks", _list_webhooks),
    Row("GET", "webhooks/{}", "admin.webhooks", _show_webhook),
    Row("GET", "webhooks/{}/given-up", "admin.webhooks", _list_given_up, asks=_PAGED),
    Row("POST", "webhooks/{}/replay", "admin.webhooks", _replay_webhook, takes=ReplayWanted),
    Row("POST", "webhooks/{}/test", "admin.webhooks", _try_webhook),
    Row("POST", "webhooks/{}/enable", "admin.webhooks", _enable_webhook, takes=Reason),
    Row("GET", "reviews", "admin.reviews", _list_reviews, confined=True, asks=_PAGED),
    Row("GET", "reviews/{}", "admin.reviews", _show_review, confined=True, of_client=True),
    Row("POST", "reviews/{}/approve", "admin.reviews", _approve, takes=Decided, confined=True, of_client=True),
    Row("POST", "reviews/{}/reject", "admin.reviews", _reject, takes=Decided, confined=True, of_client=True),
    Row("GET", "clients", "admin.clients", _list_clients, confined=True, asks=(*_FILTERS, "order", *_PAGED)),
    Row("POST", "clients", "admin.clients", _create_client, takes=Metadata, confined=True),
    Row("GET", "statistics", "admin.clients", _count_clients, confined=True, asks=_FILTERS),
    Row("POST", "clients/{}/labels", "admin.clients", _label_client, takes=LabelsWanted, confined=True, of_client=True),
    Row("GET", "clients/{}", "admin.clients", _show_client, confined=True, of_client=True),
    Row(
        "PUT",
        "clients/{}",
        "admin.clients",
        _change_client,
        takes=Metadata,
        confined=True,
        of_client=True,
        conditional=True,
    ),
    Row("DELETE", "clients/{}", "admin.clients", _delete_client, takes=Reason, confined=True, of_client=True),
    Row("GET", "clients/{}/receipt", "admin.clients", _show_receipt, confined=True, of_client=True),
    Row("POST", "clients/{}/suspend", "admin.clients", _suspend_client, takes=Reason, confined=True, of_client=True),
    Row("POST", "clients/{}/resume", "admin.clients", _resume_client, takes=Reason, confined=True, of_client=True),
    Row(
        "POST",
        "clients/{}/rotate-secret",
        "admin.clients",
        _rotate_secret,
        takes=RotationWanted,
        confined=True,
        of_client=True,
    ),
    Row(
        "POST", "clients/{}/reissue-token", "admin.clients", _reissue_token, takes=Reason, confined=True, of_client=True
    ),
    Row("GET", "jobs", "admin.clients", _list_jobs, confined=True, asks=_PAGED),
    Row("POST", "jobs", "admin.clients", _start_job, takes=JobWanted, confined=True),
    Row("GET", "jobs/{}", "admin.clients", _show_job, confined=True),
    Row("POST", "jobs/{}/stop", "admin.clients", _stop_job, confined=True),
)
"""Every route below `PREFIX`; the documentation and the tests read it."""

METHODS: Final = tuple(dict.fromkeys(row.method for row in ROUTES))

DOCUMENT: Final = "openapi.json"
"""Where the description of all this is, for whoever asks: it holds nothing that is not in the documentation."""


def document(issuer: Issuer) -> Mapping[str, Any]:
    """The OpenAPI document of an issuer."""
    return _document(issuer.url, issuer.settings.registration.path)


@cache
def _document(url: str, registration: str) -> Mapping[str, Any]:
    return openapi.document(url, PREFIX, registration, ROUTES)
