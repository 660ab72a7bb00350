"""Whose statements are believed: every attack on one, keys that rotate or cannot be had, and what an update repeats."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from registrar.domain.client import Client
from registrar.service import checkpoints, receipts
from registrar.service.ports import ClientQuery, EventQuery, Fetched, FetchError
from registrar.testing import FrozenClock, Served, served
from registrar.testing.directory import Directory, listening, new_key, signed

pytestmark = pytest.mark.anyio

CLIENT = {"client_name": "Plain", "redirect_uris": ["https://app.example/cb"], "contacts": ["ops@app.example"]}
ATTESTED = {"client_name": "Attested", "software_id": "app-1", "tos_uri": "https://app.example/tos"}


@pytest.fixture(scope="module")
def directory() -> Directory:
    """A directory with keys of its own."""
    return Directory()


@pytest.fixture
def fresh(directory: Directory) -> Directory:
    """The same with nothing changed, published or fetched before."""
    directory.documents.documents.clear()
    directory.documents.fetched.clear()
    directory.publish(directory.jwks_uri, directory.key)
    directory.clock = FrozenClock()
    return directory


def configured(keys: str, statement: str = "", *, url: str = "http://127.0.0.1:8000", tables: str = "") -> str:
    """An open issuer that believes one issuer of statements, known by `keys`."""
    return f"""
[server]
database = "memory:"
{tables}
[statement_issuer.directory]
{keys}
{f"[statement_issuer.directory.statement]{chr(10)}{statement}" if statement else ""}
[issuer.main]
url = "{url}"
[issuer.main.registration]
mode = "open"
statement_issuers = ["directory"]
"""


@asynccontextmanager
async def believing(directory: Directory, statement: str = "") -> AsyncIterator[Served]:
    """A server that believes a directory by the address of its keys."""
    clock = directory.clock
    assert isinstance(clock, FrozenClock)
    keys = f'issuer = "{directory.url}"\njwks_uri = "{directory.jwks_uri}"'
    async with served(configured(keys, statement), clock=clock, fetch=directory.documents) as server:
        yield server


async def post(server: Served, statement: Any, **members: Any) -> Any:
    """Register with a statement."""
    return await server.client.post("/register", json={**CLIENT, **members, "software_statement": statement})


async def refused(server: Served, statement: Any, error: str = "invalid_software_statement", rule: str = "") -> str:
    """Hold that a statement is refused by an error, and a rule, and that nothing is stored; gives what is said."""
    answer = await post(server, statement)
    body = answer.json()
    assert (answer.status_code, body["error"]) == (400, error), answer.text
    assert "client_id" not in body
    if rule:
        assert rule in [one["rule"] for one in body["faults"]]
    assert await server.registry.store.clients(ClientQuery()) == []
    return str(body["error_description"])


async def stored(server: Served, client_id: str) -> Client:
    """The record of a client."""
    found = await server.registry.store.find("main", client_id)
    assert found is not None
    return found


def by_public_key(claims: Mapping[str, Any], key: Any) -> str:
    """A statement MACed with the PEM of a public key, which a verifier that takes any algorithm would believe."""
    signing_input = f"{b64({'alg': 'HS256', 'kid': key.kid})}.{b64(claims)}"
    mac = hmac.digest(key.as_pem(private=False), signing_input.encode(), "sha256")
    return f"{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def b64(value: Mapping[str, Any]) -> str:
    """JSON in base64url."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.requirement("R7591-22", "R7591-30", "R7591-31", "R7591-54", "R7591-67", "SEED-91", "SEED-56", "WILD-13")
async def test_a_statement_is_believed(fresh: Directory) -> None:
    """Attested members win, plain ones stay, the statement is answered as it came, and the record says whose word it is."""
    statement = fresh.statement(**ATTESTED)
    async with believing(fresh) as server:
        answer = await post(server, statement)

        client = answer.json()
        assert answer.status_code == 201
        assert client["software_statement"] == statement
        assert (client["client_name"], client["software_id"]) == ("Attested", "app-1")
        assert client["contacts"] == ["ops@app.example"]
        record = await stored(server, client["client_id"])
        assert {name: record.provenance[name] for name in ATTESTED} == dict.fromkeys(ATTESTED, "attested:directory")
        assert "contacts" not in record.provenance
        assert record.admission.reached == "statement"
        read = await server.client.get(
            f"/register/{client['client_id']}",
            headers={"authorization": f"Bearer {client['registration_access_token']}"},
        )
        assert read.json() == client


async def test_what_a_statement_made_of_it_is_shown(fresh: Directory) -> None:
    """To operators, in the audit and in the receipt: who was let in by a statement is not told as open; until it is left out."""
    async with believing(fresh) as server:
        client = (await post(server, fresh.statement(**ATTESTED))).json()
        own = {"authorization": f"Bearer {client['registration_access_token']}"}

        async def told() -> tuple[str, ...]:
            record = await stored(server, client["client_id"])
            query = EventQuery("main", client_id=client["client_id"])
            events = await server.registry.store.events(query)
            of_it = [one.event for one in events if one.event.kind in ("client.registered", "client.updated")]
            body = json.loads(of_it[-1].body)
            return record.admission.shown, str(record.public().assurance), body["assurance"]

        assert await told() == ("statement",) * 3
        receipt = await server.client.get(f"/receipts/{client['client_id']}", headers=own)
        keys = (await checkpoints.published(server.registry))["keys"]
        assert receipts.verify(receipt.text, keys).claims["assurance"] == "statement"
        plain = {**CLIENT, "client_id": client["client_id"]}
        answer = await server.client.put(f"/register/{client['client_id']}", headers=own, json=plain)
        assert answer.status_code == 200, answer.text
        assert await told() == ("open",) * 3


@pytest.mark.requirement("R7591-32")
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_algorithms(fresh: Directory, algorithm: str) -> None:
    """Each algorithm that is believed by default verifies; one that is not among the configured ones does not."""
    key = new_key(algorithm)
    fresh.publish(fresh.jwks_uri, key)
    statement = fresh.statement(key=key, header={"algorithm": algorithm}, **ATTESTED)
    async with believing(fresh) as server:
        assert (await post(server, statement)).status_code == 201
    async with believing(fresh, 'algorithms = ["ES384"]') as server:
        assert "ES384" in await refused(server, statement, rule="statement.signature")


@pytest.mark.requirement("R7591-30", "R7591-32", "R7591-34", "WILD-13")
async def test_signatures_that_are_none(fresh: Directory) -> None:
    """Not signed, signed with the public key as a secret, by a foreign key, or with one that comes along: never believed."""
    claims = {"iss": fresh.url, **fresh.stamped(), **ATTESTED}
    good = fresh.statement(**ATTESTED)
    head, payload, signature = good.split(".")
    stranger = new_key()
    own = stranger.as_dict(private=False)
    async with believing(fresh) as server:
        for statement in (
            f"{b64({'alg': 'none'})}.{payload}.",
            f"{b64({'alg': 'none', 'kid': fresh.key.kid})}.{payload}.{signature}",
            f"{b64({'alg': 'None', 'kid': fresh.key.kid})}.{payload}.{signature}",
            by_public_key(claims, fresh.key),
            signed(claims, stranger, kid=fresh.key.kid),
            signed(claims, stranger),
            signed(claims, stranger, jwk=own),
            signed({**claims, "jwks": {"keys": [own]}}, stranger),
            signed({**claims, "jwks_uri": "https://evil.example/jwks"}, stranger),
            signed(claims, stranger, jku="https://evil.example/jwks"),
            f"{head}.{payload}.{signature[:-4]}AAAA",
            f"{head}.{b64({**claims, 'client_name': 'Another'})}.{signature}",
        ):
            await refused(server, statement, rule="statement.signature")
        assert "https://evil.example/jwks" not in fresh.documents.fetched


@pytest.mark.parametrize("statement", ["x", "a.b.c", "..", "a.b.c.d", "é.é.é", "x" * 40_000, f"{b64({'alg': 'RS256'})}.W10.x"])  # fmt: skip
async def test_what_is_no_jws(fresh: Directory, statement: str) -> None:
    """Text that is no compact JWS of one object is malformed, of whatever length."""
    async with believing(fresh) as server:
        await refused(server, statement, rule="statement.malformed")


@pytest.mark.requirement("R7591-46")
@pytest.mark.parametrize("statement", [1, True, ["a.b.c"], {"a": "b"}])
async def test_a_statement_is_a_string(fresh: Directory, statement: Any) -> None:
    """A statement of another type is a fault of the metadata."""
    async with believing(fresh) as server:
        await refused(server, statement, "invalid_client_metadata", "statement.type")


@pytest.mark.parametrize("statement", [None, ""])
async def test_a_statement_that_is_omitted(fresh: Directory, statement: Any) -> None:
    """Null and the empty string mean that there is none."""
    async with believing(fresh) as server:
        answer = await post(server, statement)

        assert answer.status_code == 201
        assert "software_statement" not in answer.json()


@pytest.mark.requirement("D-14", "R7591-31")
async def test_the_issuer(fresh: Directory) -> None:
    """Without iss, as the sample of RFC 7591 §2.3, a statement is invalid; of somebody else it is unapproved."""
    async with believing(fresh) as server:
        sample = {"software_id": "4NRB1-0XZABZI9E6-5SM3R", "client_name": "Example Statement-based Client"}
        await refused(server, signed(sample, fresh.key), rule="statement.iss")
        for iss in ("", 7, None, ["x"]):
            await refused(server, signed({"iss": iss, **ATTESTED}, fresh.key), rule="statement.iss")
        said = await refused(
            server, fresh.statement(iss="https://other.example"), "unapproved_software_statement", "statement.untrusted"
        )
        assert fresh.url in said


@pytest.mark.requirement("R7591-34")
@pytest.mark.parametrize(
    ("claims", "rule"),
    [
        ({"exp": 1_790_000_000 - 61}, "statement.time"),
        ({"exp": "tomorrow"}, "statement.time"),
        ({"exp": True}, "statement.time"),
        ({"nbf": 1_790_000_000 + 61}, "statement.time"),
        ({"iat": 1_790_000_000 + 61}, "statement.time"),
        ({"iat": 1e400}, "statement.malformed"),
        ({"aud": "https://other.example"}, "statement.aud"),
        ({"aud": ["https://other.example", 7]}, "statement.aud"),
        ({"aud": []}, "statement.aud"),
    ],
)
async def test_times_and_audience(fresh: Directory, claims: dict[str, Any], rule: str) -> None:
    """Expired, not valid yet, issued in the future, or meant for somebody else: whatever is there is honoured."""
    async with believing(fresh) as server:
        await refused(server, fresh.statement(**{**ATTESTED, **claims}), rule=rule)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None, "iat": None, "jti": None},
        {"exp": 1_790_000_000 - 59},
        {"aud": "http://127.0.0.1:8000"},
        {"aud": ["x", "http://127.0.0.1:8000/register"]},
    ],
)
async def test_claims_that_need_not_be_there(fresh: Directory, claims: dict[str, Any]) -> None:
    """Times and audience are not demanded by themselves, and clocks may be a minute apart."""
    async with believing(fresh) as server:
        assert (await post(server, fresh.statement(**{**ATTESTED, **claims}))).status_code == 201


async def test_ages(fresh: Directory) -> None:
    """A form may bound how old a statement is, and how long it is valid, and say whom it has to be for."""
    form = 'maximum_age = 300\nmaximum_lifetime = 600\naudience = "registration_endpoint"'
    endpoint = "http://127.0.0.1:8000/register"
    async with believing(fresh, form) as server:
        old = fresh.statement(aud=endpoint, iat=fresh.now - 361, **ATTESTED)
        await refused(server, old, rule="statement.time")
        long = fresh.statement(aud=endpoint, exp=fresh.now + 601, **ATTESTED)
        await refused(server, long, rule="statement.time")
        await refused(server, fresh.statement(aud=endpoint, iat=None, **ATTESTED), rule="statement.time")
        await refused(server, fresh.statement(**ATTESTED), rule="statement.aud")
        await refused(server, fresh.statement(aud="http://127.0.0.1:8000", **ATTESTED), rule="statement.aud")
        assert (await post(server, fresh.statement(aud=endpoint, **ATTESTED))).status_code == 201


@pytest.mark.requirement("R7591-34")
@pytest.mark.parametrize("database", ["memory:", "sqlite"])
async def test_replays(fresh: Directory, database: str, tmp_path: Path) -> None:
    """With a replay window a jti is used once: of twenty at the same time, exactly one registers; later another may."""
    keys = f'issuer = "{fresh.url}"\njwks_uri = "{fresh.jwks_uri}"'
    text = configured(keys, "replay_window = 600").replace(
        "memory:", "memory:" if database == "memory:" else f"sqlite:///{tmp_path}/r.db"
    )
    statement, codes = fresh.statement(**ATTESTED), []
    async with served(text, clock=fresh.clock, fetch=fresh.documents) as server:  # type: ignore[arg-type]

        async def once() -> None:
            codes.append((await post(server, statement)).status_code)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(once)
        assert sorted(codes) == [201] + [400] * 19
        assert len(await server.registry.store.clients(ClientQuery())) == 1
        for missing in (None, "", 7):
            answer = await post(server, fresh.statement(**{**ATTESTED, "jti": missing}))
            assert answer.json()["error"] == "invalid_software_statement"
        jti = fresh.statement(jti="mine", exp=None, iat=None, **ATTESTED)
        assert (await post(server, jti)).status_code == 201
        server.clock.advance(599)
        again = await post(server, fresh.statement(jti="mine", **ATTESTED))
        assert again.json()["faults"][0]["rule"] == "statement.replayed"
        server.clock.advance(2)
        assert (await post(server, fresh.statement(jti="mine", **ATTESTED))).status_code == 201


async def test_a_jti_is_remembered_while_its_statement_lives(fresh: Directory) -> None:
    """The window is never shorter than a statement is believed, minute of grace included."""
    statement = fresh.statement(exp=fresh.now + 250, **ATTESTED)
    async with believing(fresh, "replay_window = 1") as server:
        assert (await post(server, statement)).status_code == 201
        server.clock.advance(309)
        answer = await post(server, statement)
        assert answer.json()["faults"][0]["rule"] == "statement.replayed"
        server.clock.advance(1)
        answer = await post(server, statement)
        assert answer.json()["faults"][0]["rule"] == "statement.time"


@pytest.mark.requirement("WILD-13")
async def test_a_refused_registration_uses_nothing_up(fresh: Directory) -> None:
    """A statement is used with the registration or not at all."""
    statement = fresh.statement(**ATTESTED)
    async with believing(fresh, "replay_window = 600") as server:
        assert (await post(server, statement, redirect_uris=["javascript:alert(1)"])).status_code == 400
        assert (await post(server, statement)).status_code == 201


async def test_claims_that_are_the_servers_own(fresh: Directory) -> None:
    """No statement chooses an identifier, a secret or a token, and an event says that it tried."""
    mine = {
        "client_id": "chosen",
        "client_secret": "chosen",
        "registration_access_token": "chosen",
        "client_id_issued_at": 1,
    }
    async with believing(fresh) as server:
        client = (await post(server, fresh.statement(**ATTESTED, **mine))).json()

        for name, value in mine.items():
            assert client[name] != value
        (event,) = await server.registry.store.events(EventQuery(kind="client.registered"))
        assert event.event.body.decode().count('"rule":"statement.issued"') == len(mine)


# --- keys -------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-91", "SEED-92")
async def test_keys_by_value(fresh: Directory) -> None:
    """Keys that were handed over verify without anything being fetched."""
    public = {**fresh.key.as_dict(private=False), "use": "sig"}
    keys = f'issuer = "{fresh.url}"\njwks = {{ keys = [{{ {", ".join(f"{k} = {json.dumps(v)}" for k, v in public.items())} }}] }}'
    async with served(configured(keys), clock=fresh.clock, fetch=fresh.documents) as server:  # type: ignore[arg-type]
        assert (await post(server, fresh.statement(**ATTESTED))).status_code == 201
        answer = await post(server, fresh.statement(key=new_key(), **ATTESTED))
        assert answer.json()["faults"][0]["rule"] == "statement.signature"
        assert fresh.documents.fetched == []


async def test_rotation_is_picked_up_at_once(fresh: Directory) -> None:
    """A key that is new at the directory verifies with the next statement; foreign ones bring a fetch at a bounded rate."""
    async with believing(fresh) as server:
        assert (await post(server, fresh.statement(**ATTESTED))).status_code == 201
        assert len(fresh.documents.fetched) == 1
        server.clock.advance(11)
        old = fresh.rotate(keep=False)
        assert (await post(server, fresh.statement(**ATTESTED))).status_code == 201
        assert len(fresh.documents.fetched) == 2
        for _ in range(50):
            answer = await post(server, fresh.statement(key=new_key("ES256"), header={"algorithm": "ES256"}))
            assert answer.json()["error"] == "invalid_software_statement"
        assert len(fresh.documents.fetched) == 2
        # What the withdrawn key signed is believed no more.
        assert (await post(server, fresh.statement(key=old, **ATTESTED))).status_code == 400
        server.clock.advance(11)
        await post(server, fresh.statement(key=new_key("ES256"), header={"algorithm": "ES256"}))
        assert len(fresh.documents.fetched) == 3


@pytest.mark.parametrize(
    "document",
    [
        FetchError("it takes too long"),
        FetchError("it leads to an address that is not public"),
        FetchError("it answers with 302 instead of 200"),
        b"{",
        b"[]",
        b'{"keys": 7}',
        b'{"keys": []}',
        b"x" * 200_000,
        Fetched("https://directory.example/jwks", "application/json", b"{}"),
    ],
)
async def test_keys_that_cannot_be_had(fresh: Directory, document: Any) -> None:
    """A directory that is down, slow, huge, redirecting or talking nonsense vouches for nobody."""
    fresh.documents.documents[fresh.jwks_uri] = document
    async with believing(fresh) as server:
        await refused(server, fresh.statement(**ATTESTED))


async def test_kept_keys_have_their_time(fresh: Directory) -> None:
    """While the directory is down, its keys count for as long as is configured, and not a second longer."""
    async with believing(fresh) as server:
        assert (await post(server, fresh.statement(**ATTESTED))).status_code == 201
        fresh.documents.documents[fresh.jwks_uri] = FetchError("nobody answers")
        server.clock.advance(3_599)
        assert (await post(server, fresh.statement(**ATTESTED))).status_code == 201
        server.clock.advance(1)
        answer = await post(server, fresh.statement(**ATTESTED))
        assert answer.json()["faults"][0]["rule"] == "statement.keys"


async def test_the_real_road(tmp_path: Path) -> None:
    """Over TLS on this machine: keys are fetched from where the configuration allows, and from nowhere else."""
    with listening(tmp_path, algorithm="ES256") as directory:
        keys = f'issuer = "{directory.url}"\njwks_uri = "{directory.jwks_uri}"'
        trusted = f'[server.fetch]\nca_file = "{tmp_path}/authority.pem"\nallow = ["{directory.url}"]'
        clock = directory.clock
        assert isinstance(clock, FrozenClock)
        async with served(configured(keys, tables=trusted), clock=clock) as server:
            assert (await post(server, directory.statement(**ATTESTED))).status_code == 201
        for half in (trusted.splitlines()[:2], [trusted.splitlines()[0], trusted.splitlines()[2]]):
            async with served(configured(keys, tables="\n".join(half)), clock=clock) as server:
                await refused(server, directory.statement(**ATTESTED), rule="statement.keys")


# --- updates ------------------------------------------------------------------------------------------------------------------


async def put(server: Served, client: Mapping[str, Any], **members: Any) -> Any:
    """Send the server's own answer back, with other members."""
    issued = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")
    body = {name: value for name, value in client.items() if name not in issued} | members
    headers = {"authorization": f"Bearer {client['registration_access_token']}"}
    return await server.client.put(f"/register/{client['client_id']}", json=body, headers=headers)


async def test_an_update_may_repeat_the_statement(fresh: Directory) -> None:
    """What was verified once still holds: long after its time, and with the key withdrawn, the own answer is taken back."""
    async with believing(fresh, "maximum_age = 300\nreplay_window = 600") as server:
        client = (await post(server, fresh.statement(**ATTESTED))).json()
        for _ in range(3):
            server.clock.advance(100_000)
            fresh.documents.documents[fresh.jwks_uri] = FetchError("nobody answers")
            answer = await put(server, client)
            assert answer.status_code == 200, answer.text
            assert answer.json() == client
        renamed = await put(server, client, client_name="Another")
        assert renamed.json()["client_name"] == "Attested"
        # A character more, and it is another statement.
        assert (await put(server, client, software_statement=client["software_statement"] + "x")).status_code == 400


async def test_another_statement_is_judged_as_the_first(fresh: Directory) -> None:
    """A new statement may change what it attests, if it is in order, of now, unused, and about the same software."""
    async with believing(fresh, "replay_window = 600") as server:
        client = (await post(server, fresh.statement(**ATTESTED))).json()
        newer = fresh.statement(**{**ATTESTED, "client_name": "Renamed"})
        after = await put(server, client, software_statement=newer)
        assert (after.status_code, after.json()["client_name"]) == (200, "Renamed")
        for statement in (
            fresh.statement(**ATTESTED, exp=1),
            fresh.statement(**{**ATTESTED, "software_id": "app-2"}),
            fresh.statement(**{**ATTESTED, "software_id": None}),
            fresh.statement(key=new_key(), **ATTESTED),
            client["software_statement"],  # of the registration; the newer one took its place, so this is a replay
        ):
            answer = await put(server, client, software_statement=statement)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_software_statement"), answer.text
        assert (await stored(server, client["client_id"])).metadata["software_statement"] == newer


async def test_without_trust_statements_are_ignored() -> None:
    """Where nobody's statements are believed, one has no effect, and is not answered as if it had one."""
    async with served() as server:
        answer = await post(server, "a.b.c")

        assert answer.status_code == 201
        assert "software_statement" not in answer.json()
        assert answer.json()["client_name"] == "Plain"
