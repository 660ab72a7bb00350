"""Initial access tokens, issued and revoked as the command line does."""

from __future__ import annotations

import pytest

from registrar.domain import credentials
from registrar.domain.access_token import InitialAccessToken, Kind
from registrar.service import initial_access
from registrar.service.operators import Refused
from registrar.service.ports import EventQuery
from registrar.testing import OPEN, served

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("SEED-23", "SEED-24", "R7592-33")
async def test_a_token_is_shown_once_and_kept_as_a_digest() -> None:
    """The value has 256 bits and stands nowhere in the store; the record says for whom, for what and how long."""
    async with served() as server:
        value, token = await initial_access.issue_token(
            server.registry,
            server.issuer,
            server.operator,
            kind=Kind.USER,
            label="laptop",
            owner="ada",
            lifetime=60,
        )
        assert len(value) == 43
        (stored,) = await server.registry.store.tokens("main")
        assert stored == token
        assert value not in repr(stored)
        assert stored.digest == credentials.digest(value)
        assert (stored.kind, stored.scope, stored.max_uses, stored.uses) == (Kind.USER, ("dcr",), 1, 0)
        assert (stored.label, stored.owner) == ("laptop", "ada")
        assert (stored.created_at, stored.expires_at) == (server.clock.now, server.clock.now + 60)
        server.clock.advance(1)
        _, lasting = await initial_access.issue_token(server.registry, server.issuer, server.operator)
        assert (lasting.expires_at, lasting.kind) == (0, Kind.OPERATOR)
        assert lasting.token_id > token.token_id, "identifiers grow with time"


@pytest.mark.requirement("SEED-12")
async def test_tokens_that_could_not_work_are_not_issued() -> None:
    """A user's token without its user and a policy that is not configured are refused, without an event."""
    async with served() as server:
        with pytest.raises(Refused, match="owner"):
            await initial_access.issue_token(server.registry, server.issuer, server.operator, kind=Kind.USER)
        with pytest.raises(Refused, match="no policy nothing"):
            await initial_access.issue_token(server.registry, server.issuer, server.operator, policy="nothing")
        assert not await server.registry.store.tokens("main")
        assert not await server.registry.store.events(EventQuery())


async def test_a_token_of_another_issuer_is_not_revoked() -> None:
    """An operator of one issuer does not reach the tokens of another."""
    text = OPEN + '[issuer.other]\nurl = "http://127.0.0.1:8000/other"\n'
    async with served(text) as server:
        _, token = await initial_access.issue_token(server.registry, server.issuer, server.operator)
        other = server.registry.issuers["other"]
        with pytest.raises(Refused, match="no initial access token"):
            await initial_access.revoke_token(server.registry, other, server.operator, token.token_id)
        (stored,) = await server.registry.store.tokens("main")
        assert isinstance(stored, InitialAccessToken)
        assert not stored.revoked_at
