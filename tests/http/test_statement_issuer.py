"""The statement issuer in the box: what is signed, used once, revoked, and told to others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from registering import as_update, configured, events, everything_recorded, manage, on_disk, post, refused, register

from registrar.config import parse
from registrar.domain import jws
from registrar.domain.errors import RegistrationError
from registrar.policy.document import ConfigurationError, Document
from registrar.service import administration, keys, statements
from registrar.service.operators import Refused
from registrar.testing import Served, served

pytestmark = pytest.mark.anyio

BELIEVED = 'statement_issuers = ["ours"]'
OURS = '[statement_issuer.ours]\nissuer = "{url}"\n'
MEMBERS: dict[str, Any] = {"client_name": "Attested", "redirect_uris": ["https://app.example/cb"]}


def trusting(folder: Path | None = None) -> str:
    """A registrar that trusts its own statements."""
    if folder is not None:
        return on_disk(folder, registration=BELIEVED, tables=OURS.format(url="http://127.0.0.1:8000"))
    return configured(registration=BELIEVED, tables=OURS.format(url="https://as.example"))


async def issue(server: Served, members: dict[str, Any] | None = None, **more: Any) -> tuple[str, str]:
    """Issue a statement: itself and its jti."""
    attested = MEMBERS if members is None else members
    compact, issued = await statements.issue(
        server.registry, server.issuer, server.operator, attested, software_id=more.pop("software_id", "app"), **more
    )
    return compact, issued.jti


async def state(server: Served, jti: str) -> str:
    """What anybody is told of a statement."""
    answer = await server.client.get(f"/statements/{jti}")
    assert answer.json().keys() == {"jti", "state"}
    return answer.json()["state"]


@pytest.mark.parametrize("algorithm", statements.ALGORITHMS)
async def test_issued(algorithm: str) -> None:
    """A statement is verified with the published key set, and has the claims that others need."""
    async with served(configured()) as server:
        compact, jti = await issue(server, algorithm=algorithm, lifetime=600)

        published = (await server.client.get("/jwks")).json()["keys"]
        claims = jws.verify(jws.read(compact), published, [algorithm]).claims

        assert claims == {
            "iss": "https://as.example",
            "iat": server.clock.now,
            "exp": server.clock.now + 600,
            "jti": jti,
            "software_id": "app",
            **MEMBERS,
        }
        (event,) = await events(server, "statement.issued")
        assert event["jti"] == jti
        assert compact not in await everything_recorded(server)


@pytest.mark.parametrize("algorithm", statements.ALGORITHMS)
async def test_believed_elsewhere(algorithm: str) -> None:
    """Another registrar that has the issuer and its keys in its configuration believes what is issued here."""
    async with served(configured(url="https://directory.example")) as directory:
        compact, jti = await issue(directory, algorithm=algorithm)
        published = (await directory.client.get("/jwks")).json()["keys"]
        keys_in_toml = ", ".join(
            f"{{ {', '.join(f'{name} = {json.dumps(value)}' for name, value in key.items())} }}" for key in published
        )
        trust = f'[statement_issuer.ours]\nissuer = "https://directory.example"\njwks = {{ keys = [{keys_in_toml}] }}\n'
        async with served(configured(registration=BELIEVED, tables=trust), clock=directory.clock) as registrar:
            client = await register(registrar, {"software_statement": compact, "client_name": "Mine"})

            assert client["client_name"] == "Attested"
            assert client["software_statement"] == compact
            assert await state(directory, jti) == "ACTIVE"  # nobody here knows what was done elsewhere
            await statements.revoke(directory.registry, directory.issuer, directory.operator, jti)
            assert await state(directory, jti) == "REVOKED"


async def test_used_once() -> None:
    """A registration uses the statement up with it; a second one is refused, and its own update is not."""
    async with served(trusting()) as server:
        compact, jti = await issue(server)
        assert await state(server, jti) == "ACTIVE"

        client = await register(server, {"software_statement": compact, "client_name": "Mine"})
        again = await post(server, {"software_statement": compact})
        update = await manage(server, client, "PUT", as_update(client))

        assert client["client_name"] == "Attested"
        assert client["software_id"] == "app"
        refused(again, "invalid_software_statement", "software_statement")
        assert update.status_code == 200, update.text
        assert await state(server, jti) == "USED"
        record = await administration.find(server.registry, server.issuer, client["client_id"])
        assert record.provenance["client_name"] == "attested:ours"
        (event,) = await events(server, "statement.used")
        assert (event["jti"], event["statement_issuer"]) == (jti, "ours")


async def test_update_uses_another() -> None:
    """An update with a newer statement of the same software uses that one up."""
    async with served(trusting()) as server:
        first, _ = await issue(server)
        client = await register(server, {"software_statement": first})
        second, jti = await issue(server, MEMBERS | {"client_name": "Newer"})

        update = await manage(server, client, "PUT", as_update(client, software_statement=second))

        assert update.json()["client_name"] == "Newer"
        assert await state(server, jti) == "USED"


async def test_reusable() -> None:
    """A statement that may be used again registers until it expires."""
    async with served(trusting()) as server:
        compact, jti = await issue(server, once=False, lifetime=60)

        for _ in range(3):
            await register(server, {"software_statement": compact})
        server.clock.advance(200)

        refused(await post(server, {"software_statement": compact}), "invalid_software_statement")
        assert await state(server, jti) == "EXPIRED"


async def test_revoked() -> None:
    """A revoked statement is not approved any more; what was registered with it stays."""
    async with served(trusting()) as server:
        compact, jti = await issue(server, once=False)
        client = await register(server, {"software_statement": compact})

        await statements.revoke(server.registry, server.issuer, server.operator, jti, "withdrawn")

        refused(await post(server, {"software_statement": compact}), "unapproved_software_statement")
        assert (await manage(server, client)).status_code == 200
        assert await state(server, jti) == "REVOKED"
        with pytest.raises(Refused, match="already"):
            await statements.revoke(server.registry, server.issuer, server.operator, jti)
        (event,) = await events(server, "statement.revoked")
        assert event["reason"] == "withdrawn"


async def test_refused_registration_uses_nothing() -> None:
    """A registration that is refused for another reason leaves the statement as it was."""
    async with served(trusting()) as server:
        compact, jti = await issue(server, {})

        refused(await post(server, {"software_statement": compact}), "invalid_redirect_uri")

        assert await state(server, jti) == "ACTIVE"
        assert not await events(server, "statement.used")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_race(kind: str, tmp_path: Path) -> None:
    """Of many registrations at once with one statement, one is stored, and one use is told."""
    async with served(trusting() if kind == "memory" else trusting(tmp_path)) as server:
        compact, jti = await issue(server)

        answers = await asyncio.gather(*(post(server, {"software_statement": compact}) for _ in range(16)))

        assert sorted(answer.status_code for answer in answers) == [201, *[400] * 15]
        assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {
            "invalid_software_statement"
        }
        assert len(await events(server, "statement.used")) == 1
        assert len(await events(server, "client.registered")) == 1
        assert await state(server, jti) == "USED"


async def test_what_the_issuer_signs_otherwise() -> None:
    """What is signed with the issuer's keys and was not issued as a statement is none."""
    async with served(trusting()) as server:
        await keys.ensure(server.registry, server.issuer)
        claims = {"iss": "https://as.example", "sub": "anna", "iat": server.clock.now, "exp": server.clock.now + 60}

        for more in ({}, {"jti": "x"}, {"jti": 7}):
            token = await keys.sign(server.registry, server.issuer, "RS256", claims | more | MEMBERS)
            refused(await post(server, {"software_statement": token}), "invalid_software_statement")


@pytest.mark.parametrize(
    ("members", "member"),
    [
        ({"redirect_uris": ["http://app.example/cb"]}, "redirect_uris[0]"),
        ({"client_secret": "x"}, "client_secret"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"exp": 9}, "exp"),
        ({"nonsense": 1}, "nonsense"),
        ({"software_id": "another"}, "software_id"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "AA"}]}}, "jwks.keys[0]"),
    ],
)
async def test_members_are_checked(members: dict[str, Any], member: str) -> None:
    """A statement attests what could be registered, and nothing else."""
    async with served(configured()) as server:
        with pytest.raises(RegistrationError) as found:
            await issue(server, members)

        assert [fault.member for fault in found.value.faults] == [member]
        assert not await events(server, "statement.issued")


async def test_status_of_others() -> None:
    """An unknown jti is 404, and the state of one is all that is told."""
    async with served(configured()) as server:
        for path in ("/statements/unknown", "/statements/"):
            assert (await server.client.get(path)).status_code == 404
        assert (await server.client.post("/statements/unknown")).status_code == 405


async def test_forgotten_after_a_year() -> None:
    """A statement is remembered for a year after it has expired, and no longer."""
    async with served(trusting()) as server:
        compact, jti = await issue(server, lifetime=60)
        server.clock.advance(365 * 86_400 + 61)

        await server.registry.store.purge(server.clock.now)

        assert (await server.client.get(f"/statements/{jti}")).status_code == 404
        refused(await post(server, {"software_statement": compact}), "invalid_software_statement")


def test_own_keys_are_not_configured() -> None:
    """An issuer of this configuration has its keys at hand; others need theirs."""
    with pytest.raises(ConfigurationError, match="at hand"):
        parse(Document("x", trusting() + 'jwks_uri = "https://as.example/jwks"\n'))
    with pytest.raises(ConfigurationError, match="jwks_uri"):
        parse(Document("x", trusting().replace('issuer = "https://as.example"', 'issuer = "https://other.example"')))
