"""What the acts of the administration API give: typed bodies, and with which status each is answered.

The annotation of an act is read twice: by the type checker, which holds the act to it, and by `openapi`, which describes
it. So what is answered and what is described are one thing. Bodies that the command line shows too stand beside what
they show; those here are of the API alone.
"""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple, NewType, TypeVar

import msgspec

from registrar.domain.access_token import ShownToken, TokenStatus
from registrar.domain.client import ShownClient
from registrar.domain.template import ShownTemplate
from registrar.domain.webhook import GivenUpMessage
from registrar.http import wire
from registrar.http.wire import Answer
from registrar.service import bulk
from registrar.service.bulk import ShownJob
from registrar.service.document_administration import ShownDocument
from registrar.service.holding import HeldKind
from registrar.service.statements import ShownStatement
from registrar.service.webhooks import ShownWebhook

PAGE: Final = 100
"""Things on a page where nothing else is asked for."""
MOST: Final = 1000
"""And at the most."""

# --- statuses ---------------------------------------------------------------------------------------------------------

_Body = TypeVar("_Body")
Jwt = NewType("Jwt", str)
"""A compact JWS, which is no JSON."""


class Created(NamedTuple, Generic[_Body]):
    """Something came to be."""

    body: _Body


class Accepted(NamedTuple, Generic[_Body]):
    """Something was begun, and is not done yet."""

    body: _Body


class Tagged(NamedTuple, Generic[_Body]):
    """A body with an entity tag, for `If-Match` (RFC 9110 §8.8.3)."""

    body: _Body
    tag: str


Given = msgspec.Struct | Jwt | Tagged[Any] | Created[Any] | Accepted[Any] | None
"""What an act gives; None where there is nothing to say."""
STATUSES: Final[dict[object, int]] = {Created: 201, Accepted: 202, type(None): 204}
"""Whatever else is given is answered with 200."""


def answer(given: Given) -> Answer:
    """What an act gives, ready to be sent."""
    status = STATUSES.get(type(given), 200)
    match given:
        case None:
            return Answer(status, wire.NO_STORE[1:])
        case str():
            return wire.jwt(given)
        case Tagged(body, tag):
            plain = wire.answer(status, body)
            return Answer(status, [*plain.headers, (b"etag", tag.encode())], plain.body)
        case Created(body) | Accepted(body):
            return wire.answer(status, body)
    return wire.answer(status, given)


# --- bodies -----------------------------------------------------------------------------------------------------------


class _Page(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    after: str = ""
    """What the parameter `after` of the next page is; absent where this is the last one."""


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A policy in a list."""

    name: str
    """Its name."""
    description: str
    """What it is for, for people."""
    digest: str
    """The SHA-256 of the text that it was loaded from."""


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """The policies of an issuer, by name."""

    policies: list[PolicyRow]
    """Each of them."""
    policy: str
    """The one that judges where no other is named."""


class Templates(_Page, frozen=True, kw_only=True):
    """A page of templates."""

    templates: list[ShownTemplate]
    """In the order of their names."""


class Documents(_Page, frozen=True, kw_only=True):
    """A page of clients that are described by documents."""

    documents: list[ShownDocument]
    """In the order of `id`."""


class TemplateInUse(ShownTemplate, frozen=True, kw_only=True):
    """A template, and how many use it."""

    instances: int
    """Its living instances."""


class ChangedTemplate(ShownTemplate, frozen=True, kw_only=True):
    """A template that was written."""

    waiting: int = 0
    """Instances of which the server cannot read the secret, as the template needs it to: each completes when it next
    presents its registration access token."""


class Statements(_Page, frozen=True, kw_only=True):
    """A page of software statements."""

    statements: list[ShownStatement]
    """In the order of their identifiers."""


class IssuedStatement(ShownStatement, frozen=True, kw_only=True):
    """A software statement that was issued."""

    software_statement: str
    """The statement itself (RFC 7591 §2.3), shown this once."""


class Tokens(_Page, frozen=True, kw_only=True):
    """A page of initial access tokens."""

    tokens: list[ShownToken]
    """In the order of their identifiers."""


class IssuedToken(ShownToken, frozen=True, kw_only=True):
    """An initial access token that was issued."""

    token: str
    """The token itself, shown this once."""


class RevokedToken(msgspec.Struct, frozen=True, kw_only=True):
    """An initial access token that was revoked."""

    token_id: str
    """Which."""
    status: TokenStatus
    """What it is now."""


class RevokedWithClients(RevokedToken, frozen=True, kw_only=True):
    """An initial access token that was revoked, and whose clients follow it."""

    job_id: str
    """The job that does to them what was asked."""


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """The webhooks that are told of an issuer."""

    webhooks: list[ShownWebhook]
    """In the order of their names."""


class Messages(_Page, frozen=True, kw_only=True):
    """A page of messages that were given up."""

    messages: list[GivenUpMessage]
    """In the order of the times at which they were."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What was put into the outbox again."""

    webhook: str
    """Of which webhook."""
    replayed: int
    """How many messages."""


class HeldRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of a client, in a list."""

    client_id: str
    """Whose it is."""
    what: HeldKind
    """What it is."""
    digest: str
    """What stands for all of it when it is decided."""
    since: int
    """When it came, in seconds since 1970."""
    reason: str
    """Why it is held."""


class Reviews(_Page, frozen=True, kw_only=True):
    """A page of what is held; it may be short, and even empty, and yet not be the last."""

    reviews: list[HeldRow]
    """In the order of their clients' identifiers."""


class Clients(_Page, frozen=True, kw_only=True):
    """A page of clients; it may be short, and even empty, and yet not be the last."""

    clients: list[ShownClient]
    """In the order in which they were registered, or the newest first."""


class ChangedClient(ShownClient, frozen=True, kw_only=True):
    """A client that was changed."""

    client_secret: str = ""
    """Its new secret, shown this once, where it needs one now and had none."""


class RotatedSecret(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A client secret that took the place of another. Times are in seconds since 1970."""

    client_id: str
    """Whose it is."""
    client_secret: str
    """The new one, shown this once."""
    client_secret_expires_at: int
    """When it ends; 0 is never."""
    old_secret_works_until: int | msgspec.UnsetType = msgspec.UNSET
    """Until when the one before it works; absent where it does not."""


class Jobs(_Page, frozen=True, kw_only=True):
    """A page of jobs."""

    jobs: list[ShownJob]
    """In the order of their identifiers."""


class Survey(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a job would do; nothing was done."""

    act: bulk.Act
    """What it would do to each client."""
    clients: int
    """How many clients are meant."""
    would_change: int
    """How many of these would be changed."""
    more: bool = False
    """Whether there are more clients, that were not looked at."""
