"""Routes of initial access tokens: issued and revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Literal

import msgspec
from msgspec.structs import asdict

from registrar.domain.access_token import ADMINISTRATION, SCOPE, InitialAccessToken, Kind, ShownToken, TokenStatus
from registrar.domain.errors import BearerError, ProtocolError
from registrar.http import answers
from registrar.http.admin.bodies import Why, read
from registrar.http.admin.call import Call, Row
from registrar.http.admin.jobs import narrowed, started
from registrar.http.admin.pages import PAGED, limit_of
from registrar.http.answers import Accepted, Created
from registrar.service import bulk, initial_access, inventory
from registrar.service.bulk import Selection
from registrar.service.operators import Unknown

_TOKENS: Final = 200
"""Initial access tokens that are read at once where those within labels are looked for."""


class TokenWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class RevocationWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an initial access token is revoked."""

    cascade: Literal["", "suspend", "delete"] = ""
    """What becomes of the clients registered with it."""


async def _list_tokens(call: Call) -> answers.Tokens:
    rows, looked, limit = list[ShownToken](), 0, limit_of(call)
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
    asked = read(call, TokenWanted)
    scope = tuple(asked.scope.split())
    if beyond := call.token.beyond(scope):
        raise BearerError("insufficient_scope", f"The token lacks {beyond[0]}, and so does what it issues.")
    if asked.max_uses < 0 or asked.expires_in < 0:
        raise ProtocolError("invalid_request", "max_uses and expires_in are not negative.")
    value, issued = await initial_access.issue_token(
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
    asked = read(call, RevocationWanted)
    if call.token.within and not any(
        [_token_within(call, one) async for one in _tokens(call, "", _TOKENS) if one.token_id == call.name]
    ):
        raise Unknown(f"there is no initial access token {call.name} at {call.issuer.name}")
    if asked.cascade and "admin.clients" not in call.token.scope:
        raise BearerError("insufficient_scope", "What becomes of clients needs the scope admin.clients.")
    await initial_access.revoke_token(*call.acting, call.name, again=bool(asked.cascade))
    if not asked.cascade:
        return answers.RevokedToken(token_id=call.name, status=TokenStatus.REVOKED)
    reason = f"the initial access token {call.name} was revoked"
    job = await started(
        call, bulk.Act(asked.cascade), narrowed(call, Selection(token=call.name)), reason, whenever=True
    )
    revoked = answers.RevokedWithClients(token_id=call.name, status=TokenStatus.REVOKED, job_id=job.job_id)
    return Accepted(revoked)


ROUTES: Final = (
    Row("GET", "tokens", "admin.tokens", _list_tokens, confined=True, asks=PAGED),
    Row("POST", "tokens", "admin.tokens", _issue_token, takes=TokenWanted, confined=True),
    Row("POST", "tokens/{}/revoke", "admin.tokens", _revoke_token, takes=RevocationWanted, confined=True),
)
