"""Who registers, told by facts: classes of clients, bound tokens, attestations, one registration a version, own rules."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from registering import (
    MACHINE,
    MEMBERS,
    PUBLIC,
    as_update,
    bearer,
    configured,
    events,
    issue,
    manage,
    post,
    refused,
    register,
)

from registrar.config import ConfigurationError, parse
from registrar.domain.findings import Finding, Verdict
from registrar.policy import Facts
from registrar.policy.document import Document
from registrar.service.operators import Refused
from registrar.testing import Documents, FrozenClock, served
from registrar.testing.authority import Authority

pytestmark = pytest.mark.anyio

KEY = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RUNNER = {
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": {"keys": [KEY]},
}
SHIPPED = 'classes = ["ephemeral", "operated", "certified", "attested", "personal", "application", "anonymous"]'
DAY = 86_400


# --- classes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-61", "SEED-75", "SEED-82")
async def test_a_class_follows_from_facts() -> None:
    """The same body is of another class by another token, and what it may be follows from that, not from its claims."""
    async with served(configured("open", registration=SHIPPED)) as server:
        claims = {**MACHINE, "client_class": "operated", "class": "operated"}
        nobody = await post(server, claims)
        operated = await register(server, claims, (await issue(server, "operator"))[0])
        anonymous = await register(server, PUBLIC)
        told = [one.get("client_class") for one in await events(server, "client.registered")]

    refused(nobody, "invalid_client_metadata", "grant_types")
    assert operated["grant_types"] == ["client_credentials"]
    assert anonymous["token_endpoint_auth_method"] == "none"
    assert told == ["operated", "anonymous"]


@pytest.mark.requirement("SEED-61", "SEED-73", "SEED-82")
async def test_ephemeral_clients_have_keys_and_an_end() -> None:
    """A client for a task authenticates with a key, is refused a shared secret, and is gone with its class's time."""
    clock = FrozenClock()
    async with served(configured("client", registration=SHIPPED), clock=clock) as server:
        token, _ = await issue(server, "client", scope=("dcr", "dcr:ephemeral"), max_uses=0)
        secret = await post(server, MACHINE | {"token_endpoint_auth_method": "client_secret_basic"}, token)
        client = await register(server, RUNNER, token)
        stored = await server.registry.store.find("main", client["client_id"])
        widened = await manage(
            server, client, "PUT", as_update(client, token_endpoint_auth_method="client_secret_basic")
        )
        clock.advance(DAY)
        after = await manage(server, client)

    refused(secret, "invalid_client_metadata", "token_endpoint_auth_method")
    assert stored is not None
    assert (stored.admission.client_class, stored.policy) == ("ephemeral", "default ephemeral")
    assert stored.expires_at == stored.created_at + DAY
    refused(widened, "invalid_client_metadata", "token_endpoint_auth_method")
    assert after.status_code == 401


@pytest.mark.requirement("SEED-73")
async def test_a_secret_ends_with_its_client() -> None:
    """Where a class of one's own allows secrets, a secret ends with the client, and renewing it moves neither end."""
    tables = """
        [class.task]
        when = { token_label = ["task"] }
        admission = ["initial_access_token"]
        policy = ["task"]
        [policy.task]
        lifetime = { client = 7200, secret = 7200 }
    """
    clock = FrozenClock()
    async with served(
        configured(
            "client", registration='classes = ["task"]', issuer="client_secret.rotate_on_update = true", tables=tables
        ),
        clock=clock,
    ) as server:
        token, _ = await issue(server, "client", label="task")
        client = await register(server, MACHINE, token)
        ends = client["client_id_issued_at"] + 7200
        clock.advance(3600)
        renewed = (await manage(server, client, "PUT", as_update(client))).json()
        clock.advance(3600)
        after = await manage(server, renewed)

    assert client["client_secret_expires_at"] == ends
    assert renewed["client_secret"] != client["client_secret"]
    assert renewed["client_secret_expires_at"] <= ends
    assert after.status_code == 401


@pytest.mark.requirement("SEED-82")
async def test_what_is_of_no_class_is_refused() -> None:
    """Where the classes of an issuer leave somebody out, the door is shut for them, with what would open it."""
    async with served(configured("open", registration='classes = ["personal", "operated"]')) as server:
        body = refused(await post(server), "invalid_request", "class")
        token, _ = await issue(server, "user", owner="ann")
        client = await register(server, MEMBERS, token)

    assert "personal, operated" in body["error_description"]
    assert client["client_id"]


@pytest.mark.requirement("SEED-82")
async def test_preregistered_software_alone_is_admitted() -> None:
    """An allow-list of software lets in what it names, where a token stands behind the claim, and nothing else."""
    tables = """
        [class.partner]
        description = "Software of partners, announced before."
        admission = ["initial_access_token+preregistered"]
        software = ["partner-app"]
        owners = ["ann"]
    """
    async with served(configured("open", registration='classes = ["partner"]', tables=tables)) as server:
        named = {**MEMBERS, "software_id": "partner-app"}
        refused(await post(server, named), "invalid_request", "authorization")
        hers, _ = await issue(server, "user", owner="ann", max_uses=0)
        his, _ = await issue(server, "user", owner="bob", max_uses=0)
        refused(await post(server, {**MEMBERS, "software_id": "other"}, hers), "invalid_request", "software_id")
        refused(await post(server, named, his), "invalid_request", "software_id")
        await register(server, named, hers)


@pytest.mark.parametrize(
    ("registration", "tables", "reason"),
    [
        ('classes = ["zzz"]', "", "there is no class zzz; these are: ephemeral"),
        ('classes = ["mine"]', "[class.mine]\nadmission = ['open']\npolicy = ['machine']\n[policy.machine.metadata.grant_types]\nvalue = ['client_credentials']\n[policy.people.metadata.grant_types]\nvalue = ['authorization_code']", "nothing could be registered in the class mine: people and machine contradict"),
        ("", "[class.anonymous]\nadmission = ['open']", "anonymous is a class that ships"),
        ("", "[class.Mine]\nadmission = ['open']", "a class's name is"),
        ("", "class = 3", "classes are tables"),
        ('attestation = "nowhere:nothing"', "", 'is "package.module:function"; nowhere:nothing cannot be had'),
    ],
)  # fmt: skip
async def test_refused_configurations(registration: str, tables: str, reason: str) -> None:
    """Classes that do not exist or cannot be met, and functions that cannot be had, keep the server from starting."""
    policy = 'policy = "people"\n' if "people" in tables else ""
    text = configured("open", registration=policy + registration, tables="" if tables == "class = 3" else tables)
    text = f"{tables}\n{text}" if tables == "class = 3" else text
    with pytest.raises(ConfigurationError) as caught:
        parse(Document("test", text))

    assert reason in str(caught.value)
    assert caught.value.line


# --- bound tokens --------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-18")
async def test_tokens_bound_to_addresses() -> None:
    """A token works from its networks alone; elsewhere it is 401, and no use of it is spent."""
    async with served(configured("client")) as server:
        here, _ = await issue(server, "client", addresses=("127.0.0.0/8",))
        elsewhere, token_id = await issue(server, "client", addresses=("10.0.0.0/8", "192.0.2.1"))
        await register(server, MEMBERS, here)
        answer = await post(server, MEMBERS, elsewhere)
        tokens = {one.token_id: one.uses for one in await server.registry.store.tokens("main")}
        issued = (await events(server, "token.issued"))[-1]

    refused(answer, "invalid_token", status=401)
    assert answer.json()["error_description"] == "The initial access token is bound to other addresses than this one."
    assert tokens[token_id] == 0
    assert issued["bound_to"] == ["address"]


@pytest.mark.requirement("SEED-18")
async def test_tokens_bound_to_a_certificate() -> None:
    """A token bound to a certificate is nothing without it."""
    async with served(configured("client")) as server:
        bound, _ = await issue(server, "client", certificate="A" * 43)
        answer = await post(server, MEMBERS, bound)
        with pytest.raises(Refused, match="thumbprint"):
            await issue(server, "client", certificate="CN=app")
        with pytest.raises(Refused, match="an address, or a network"):
            await issue(server, "client", addresses=("nowhere",))
        with pytest.raises(Refused, match="no attestation function"):
            await issue(server, "client", attestation=True)

    assert (
        answer.json()["error_description"]
        == "The initial access token is bound to a client certificate that did not come with the request."
    )


@pytest.mark.requirement("SEED-18", "SEED-82")
async def test_certificates_make_a_class_and_free_a_bound_token(tmp_path: Path) -> None:
    """With its certificate, handed on by a trusted proxy, a client is of another class and its bound token works."""
    authority = Authority()
    issued, other = authority.issue("CN=app,O=Example"), authority.issue("CN=other,O=Example")
    (tmp_path / "authorities.pem").write_bytes(authority.pem)
    registration = f'certificate_authorities = "{tmp_path}/authorities.pem"\nclasses = ["certified", "application"]'
    text = configured("client", registration=registration).replace(
        "[server]", '[server]\ntrusted_proxies = ["127.0.0.1"]', 1
    )

    def headers(token: str, certificate: str) -> dict[str, str]:
        return {**bearer(token), "x-forwarded-proto": "https", "client-cert": certificate}

    async with served(text) as server:
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(issued.der).digest()).rstrip(b"=").decode()
        bound, _ = await issue(server, "client", certificate=thumbprint, max_uses=0)
        plain, _ = await issue(server, "client", max_uses=0)
        answers = [
            await server.client.post("/register", json=MACHINE, headers=headers(bound, issued.client_cert)),
            await server.client.post("/register", json=MACHINE, headers=headers(bound, other.client_cert)),
            await server.client.post("/register", json=MACHINE, headers=headers(plain, other.client_cert)),
            await post(server, PUBLIC, plain),
        ]
        told = [one["client_class"] for one in await events(server, "client.registered")]

    assert [one.status_code for one in answers] == [201, 401, 201, 201]
    assert told == ["certified", "certified", "application"]


def believes(attestation: str) -> bool:
    """An attestation function that says yes to one, and falls over another."""
    if attestation == "broken":
        raise RuntimeError(attestation)
    return attestation == "managed-device"


async def believes_later(attestation: str) -> bool:
    """The same, asynchronously."""
    await asyncio.sleep(0)
    return believes(attestation)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own, with functions for attestations and a rule."""
    module = ModuleType("own_policy")
    vars(module).update(
        believes=believes, believes_later=believes_later, no_tests=no_tests, untyped=untyped, shut=lambda: ()
    )
    monkeypatch.setitem(sys.modules, "own_policy", module)
    return "own_policy"


@pytest.mark.requirement("SEED-18")
@pytest.mark.parametrize("function", ["believes", "believes_later"])
async def test_attestations(own: str, function: str, caplog: pytest.LogCaptureFixture) -> None:
    """A function of the operator's own judges the attestation; what it does not believe, or falls over, is refused."""
    tables = '[policy.devices]\nrules = [{ rule = "attested" }]'
    more = f'attestation = "{own}:{function}"\npolicy = "devices"'
    async with served(configured("open", registration=more, tables=tables)) as server:
        for attestation in ("", "other", "broken"):
            headers = {"oauth-client-attestation": attestation} if attestation else {}
            refused(
                await server.client.post("/register", json=MEMBERS, headers=headers), "invalid_request", "attestation"
            )
        good = {"oauth-client-attestation": "managed-device"}
        answer = await server.client.post("/register", json=MEMBERS, headers=good)
        bound, _ = await issue(server, "client", attestation=True)
        without = await post(server, MEMBERS, bound)
        long = await server.client.post("/register", json=MEMBERS, headers={"oauth-client-attestation": "x" * 20_000})
        kept = await manage(server, answer.json(), "PUT", as_update(answer.json()))

    assert answer.status_code == 201
    assert (
        without.json()["error_description"]
        == "The initial access token is bound to an attestation, and none that is believed came with the request."
    )
    refused(long, "invalid_request")
    assert kept.status_code == 200  # an update is proven by its own token
    assert "managed-device" not in caplog.text


async def test_with_a_bound_token_and_the_rule() -> None:
    """Where a policy demands it, a token that could be copied is refused, and a bound one registers."""
    tables = '[policy.careful]\nrules = [{ rule = "token_bound", to = ["address"] }]'
    async with served(configured("client", registration='policy = "careful"', tables=tables)) as server:
        refused(await post(server, MEMBERS, (await issue(server, "client"))[0]), "invalid_request", "authorization")
        await register(server, MEMBERS, (await issue(server, "client", addresses=("127.0.0.1",)))[0])


# --- one registration a version ---------------------------------------------------------------------------------------------------

SINGLE = '[policy.single]\nrules = [{ rule = "single_instance" }]'


@pytest.mark.requirement("R7591-68")
async def test_a_version_is_registered_once() -> None:
    """The same software in the same version is refused; another version, or the same after a deletion, is not."""
    async with served(configured("open", registration='policy = "single"', tables=SINGLE)) as server:
        named = {**MEMBERS, "software_id": "app", "software_version": "1"}
        first = await register(server, named)
        again = await post(server, named)
        second = await register(server, {**named, "software_version": "2"})
        taken = await manage(server, second, "PUT", as_update(second, software_version="1"))
        kept = await manage(server, first, "PUT", as_update(first, client_name="Other"))
        moved = await manage(server, first, "PUT", as_update(first, software_version="3"))
        free = await manage(server, second, "PUT", as_update(second, software_version="1"))
        await manage(server, second, "DELETE")
        last = await post(server, named)
        unnamed = [await post(server) for _ in range(2)]

    refused(again, "invalid_client_metadata", "software_id")
    refused(taken, "invalid_client_metadata", "software_id")
    assert [one.status_code for one in (kept, moved, free, last, *unnamed)] == [200, 200, 200, 201, 201, 201]


@pytest.mark.requirement("R7591-68")
async def test_other_software_is_not_counted() -> None:
    """Where the rule names software, other software may be registered as often as it likes, at the same time too."""
    tables = '[policy.single]\nrules = [{ rule = "single_instance", software = ["app"] }]'
    async with served(configured("open", registration='policy = "single"', tables=tables)) as server:
        others = await asyncio.gather(*(post(server, {**MEMBERS, "software_id": "tool"}) for _ in range(4)))
        ours = [await post(server, {**MEMBERS, "software_id": "app"}) for _ in range(2)]

    assert [one.status_code for one in (*others, *ours)] == [201] * 5 + [400]


@pytest.mark.requirement("R7591-68")
async def test_of_many_at_once_one_wins() -> None:
    """Of registrations of one version at the same time exactly one is stored."""
    async with served(configured("open", registration='policy = "single"', tables=SINGLE)) as server:
        named = {**MEMBERS, "software_id": "app"}
        answers = await asyncio.gather(*(post(server, named) for _ in range(8)))

    assert sorted(one.status_code for one in answers) == [201, *[400] * 7]


# --- what stands behind jwks_uri ---


@pytest.mark.requirement("R7591-18")
async def test_published_keys() -> None:
    """Where a policy says so, the key set is fetched and judged at registration and at an update, and told what is wrong."""
    tables = '[policy.published]\nrules = [{ rule = "published_keys" }, { rule = "keys", types = ["OKP"] }]'
    url = "https://app.example/jwks"
    documents = Documents({url: json.dumps({"keys": [KEY]}).encode()})
    body = {**MEMBERS, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": url}
    configuration = configured("open", registration='policy = "published"', tables=tables)
    async with served(configuration, fetch=documents) as server:
        client = await register(server, body)
        missing = await post(server, {**body, "jwks_uri": "https://app.example/nothing"})
        documents.documents[url] = json.dumps({"keys": [{**KEY, "d": "secret"}]}).encode()
        private = await manage(server, client, "PUT", as_update(client))
        documents.documents[url] = b"<html>"
        page = await post(server, body)
        plain = await post(server)

    assert "answers with 404" in refused(missing, "invalid_client_metadata", "jwks_uri")["error_description"]
    assert (
        "private or secret key material" in refused(private, "invalid_client_metadata", "jwks_uri")["error_description"]
    )
    assert "it is not JSON" in refused(page, "invalid_client_metadata", "jwks_uri")["error_description"]
    assert plain.status_code == 201
    assert documents.fetched == [url, "https://app.example/nothing", url, url]


# --- a rule of the user's own -------------------------------------------------------------------------------------------------------


def no_tests(metadata: Mapping[str, Any], facts: Facts, *, words: tuple[str, ...]) -> Iterator[Finding]:
    """A rule as a user writes one."""
    for word in words:
        if word in str(metadata.get("client_name", "")).lower() and not facts.token_id:
            yield Finding(
                "own.no_tests",
                "client_name",
                Verdict.REFUSED,
                f"holds {word}",
                "a name of its own",
                "invalid_client_metadata",
            )


def untyped(_metadata, _facts, *, words):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """A rule of which nobody knows what it takes."""
    return words


@pytest.mark.requirement("SEED-95")
async def test_a_rule_of_ones_own(own: str) -> None:
    """One function and one line of configuration: it refuses as the others do, and its name stands in the audit."""
    tables = f"""
        [rules]
        no_tests = "{own}:no_tests"
        [policy.mine]
        rules = [{{ rule = "no_tests", words = ["test", "demo"] }}]
    """
    async with served(configured("open", registration='policy = "mine"', tables=tables)) as server:
        body = refused(
            await post(server, {**MEMBERS, "client_name": "My Demo"}), "invalid_client_metadata", "client_name"
        )
        await register(server)
        (event,) = await events(server, "registration.refused")

    assert body["faults"] == [
        {"member": "client_name", "rule": "own.no_tests", "reason": "holds demo", "accepted": "a name of its own"}
    ]
    assert [one["rule"] for one in event["findings"] if one["verdict"] == "refused"] == ["own.no_tests"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('localhost = "own_policy:no_tests"', "localhost is a rule that ships"),
        ('mine = "own_policy"', "cannot be had"),
        ('mine = "own_policy:missing"', "cannot be had"),
        ("mine = 3", "cannot be had"),
        ('mine = "own_policy:__name__"', "is no function"),
        ('mine = "own_policy:shut"', "is no rule"),
        ('mine = "own_policy:untyped"', "has no type for words"),
    ],
)
async def test_what_is_no_rule(own: str, line: str, reason: str) -> None:
    """A function that cannot be had, or could not be a rule, keeps the server from starting, with the line."""
    text = f"[rules]\n{line}\n{configured('open')}"
    with pytest.raises(ConfigurationError, match=reason) as caught:
        parse(Document("test", text))

    assert own
    assert caught.value.line == 2
    assert bearer("") == {}
