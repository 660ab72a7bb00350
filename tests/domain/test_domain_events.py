"""Audit events: canonical, open only to their disclosures, and without a credential."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_domain_jwks import EC, RSA

from registrar.domain import events, jwks
from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.credentials import Credentials, Sealed, SecretRecord, TokenRecord, digest
from registrar.domain.events import (
    EVENTS,
    SALT_BYTES,
    Actor,
    difference,
    discloses,
    event,
    refusal_detail,
    registration_detail,
)
from registrar.domain.findings import RULES, Finding
from registrar.domain.metadata import Presented, Registered, parse

SALT = bytes(range(SALT_BYTES))
ANONYMOUS = Actor("anonymous", "none")
ALICE = Actor("token", "initial_access_token", token_id="t1", person="alice", address="192.0.2.1")
SECRET = "S" * 86


def make(kind: str = "client.registered", actor: Actor = ANONYMOUS, **more: Any) -> events.Event:
    """An event at a fixed time."""
    return event(kind, issuer="main", time_ms=1_790_000_000_000, actor=actor, salt=SALT, **more)


def client(**metadata: Any) -> Client:
    """A client with credentials, as it is stored."""
    return Client(
        issuer="main",
        client_id="c1",
        version=3,
        state=State.ACTIVE,
        created_at=1,
        updated_at=2,
        metadata=Registered(metadata),
        credentials=Credentials(
            tokens=(TokenRecord(digest("token")),),
            secrets=(SecretRecord(digest(SECRET), Sealed(b"nonce", b"ciphertext"), 1, 1),),
        ),
        admission=Admission(Assurance.CLIENT, token_id="t1", label="fleet", owner="alice"),
        policy="default",
    )


DETAIL = {
    "redirect_uris": ["https://a.example/cb"],
    "policy": "default",
    "error": "x",
    "version": 3,
    "client_name": "é",
    "difference": {"jwks": [{"keys": [{"kty": "OKP", "crv": "Ed25519"}]}, None]},
}
FOUND = RULES["metadata.feature"].ignore("software_statement", feature="software statements")


@pytest.mark.requirement("SEED-65")
def test_the_bytes_are_canonical() -> None:
    """Members stand sorted and without white space, carry a version, and do not depend on the order of what is told."""
    one = make(actor=ALICE, detail=DETAIL, endpoint="/register", client_id="c1")
    found = make(detail={"findings": [FOUND]})
    other = make(actor=ALICE, detail=dict(reversed(DETAIL.items())), endpoint="/register", client_id="c1")
    body = json.loads(one.body)

    assert one == other
    for told in (one, found):
        members = json.loads(told.body)
        assert told.body == json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert (body["v"], body["kind"], body["issuer"], body["time"]) == (
        1,
        "client.registered",
        "main",
        1_790_000_000_000,
    )
    assert (body["actor"], body["authentication"]) == ("token", "initial_access_token")
    assert (body["token_id"], body["client_id"], body["endpoint"]) == ("t1", "c1", "/register")
    assert {name: body[name] for name in DETAIL} == DETAIL
    assert (one.issuer, one.kind, one.time_ms, one.client_id) == ("main", "client.registered", 1_790_000_000_000, "c1")


def test_what_has_no_value_is_left_out() -> None:
    """An event says nothing where there is nothing to say."""
    body = json.loads(make(detail={"redirect_uris": None, "error": "", "findings": ()}).body)

    assert set(body) == {"v", "kind", "issuer", "time", "actor", "authentication"}
    assert make().personal == b""


def test_kinds_are_those_of_the_table() -> None:
    """An event of a kind that nobody documented cannot be written."""
    with pytest.raises(KeyError):
        make("client.vanished")
    for name, kind in EVENTS.items():
        assert kind.name == name
        assert kind.meaning
        assert json.loads(make(name).body)["kind"] == name


@pytest.mark.requirement("SEED-65")
def test_personal_members_are_commitments() -> None:
    """Who it was stands in the event as a commitment, which its own disclosure opens."""
    made = make(actor=ALICE)
    committed, disclosed = json.loads(made.body)["personal"], json.loads(made.personal)

    assert b"alice" not in made.body
    assert b"192.0.2.1" not in made.body
    assert set(committed) == set(disclosed) == {"person", "address"}
    for name, (salt, value) in disclosed.items():
        assert discloses(committed[name], bytes.fromhex(salt), name, value)
    assert disclosed["person"][1] == "alice"
    assert set(json.loads(make(actor=Actor("a", "b", address="x")).body)["personal"]) == {"address"}


@given(st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES), st.text(), st.text())
def test_nothing_else_opens_a_commitment(salt: bytes, value: str, other: str) -> None:
    """Another value, salt or name does not open it."""
    committed = events._commitment(salt, "person", value)

    assert discloses(committed, salt, "person", value)
    assert discloses(committed, salt, "person", other) is (value == other)
    assert not discloses(committed, salt, "address", value)
    assert not discloses(committed, bytes(octet ^ 1 for octet in salt), "person", value)


@pytest.mark.requirement("SEED-65")
def test_registrations_are_told_whole() -> None:
    """What was asked for, what was registered, with what assurance, by which policy, and which keys."""
    requested = {"redirect_uris": ["https://a.example/cb"], "scope": "openid admin"}
    registered = client(
        redirect_uris=["https://a.example/cb"],
        scope="openid",
        grant_types=["authorization_code"],
        token_endpoint_auth_method="private_key_jwt",
        client_name="App",
        software_id="s1",
        jwks={"keys": [RSA, EC]},
    )
    found = [RULES["offered.dropped"].change("scope", "openid admin", "openid", given="admin", accepted="openid")]
    body = json.loads(make(detail=registration_detail(registered, requested, found, "d1")).body)

    assert body["requested_redirect_uris"] == body["redirect_uris"] == ["https://a.example/cb"]
    assert (body["requested_scope"], body["scope"]) == ("openid admin", "openid")
    assert body["jwk_thumbprints"] == jwks.thumbprints({"keys": [RSA, EC]})
    assert (body["assurance"], body["token_label"]) == ("client", "fleet")
    assert (body["policy"], body["policy_digest"], body["version"]) == ("default", "d1", 3)
    assert (body["client_name"], body["software_id"], body["grant_types"]) == ("App", "s1", ["authorization_code"])
    assert body["token_endpoint_auth_method"] == "private_key_jwt"
    assert body["findings"][0]["rule"] == "offered.dropped"
    assert body["findings"][0]["before"] == "openid admin"


@pytest.mark.requirement("SEED-65")
def test_jwks_uri_stands_in_the_event() -> None:
    """Where the keys are published is told as it is."""
    detail = registration_detail(client(jwks_uri="https://a.example/jwks"), {}, (), "")

    assert json.loads(make(detail=detail).body)["jwks_uri"] == "https://a.example/jwks"


CREDENTIALS = {
    "client_secret": SECRET,
    "registration_access_token": SECRET,
    "client_id": SECRET,
    "software_statement": SECRET,
    "authorization": f"Bearer {SECRET}",
    "jwks": {"keys": [{**EC, "d": SECRET}, {"kty": "oct", "k": SECRET}, {**RSA, "p": SECRET}]},
    "redirect_uris": [f"https://user:{SECRET}@a.example/cb", f"https://{SECRET}@a.example"],
    "logo_uri": f"https://{SECRET}@a.example/logo",
    "client_uri": f"ftp://u:{SECRET}@a.example/",
    "x": {"client_secret": SECRET},
}


@pytest.mark.requirement("SEED-65", "OIDC-14", "D-5")
def test_no_credential_reaches_an_event() -> None:
    """Of a request full of secrets an event tells the faults and none of the secrets."""
    _, findings = parse(Presented(dict(CREDENTIALS)))
    assert any(one.rule == "jwks.private" for one in findings)
    assert any(one.rule == "redirect_uri.userinfo" for one in findings)

    refused = make("registration.refused", detail=refusal_detail("e", "why", CREDENTIALS, findings))
    registered = make(detail=registration_detail(client(client_name="App"), {}, findings, ""))

    assert SECRET[:20].encode() not in refused.body + registered.body
    assert b"ciphertext" not in registered.body


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters(exclude_categories=()))),
    lambda inner: st.one_of(st.lists(inner, max_size=30), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=40,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["redirect_uris", "scope", "client_name", "software_id"], _json))
)
def test_refusals_of_anything_can_be_written(requested: dict[str, Any]) -> None:
    """Whatever was sent, the refusal is an event of a bounded size, in ASCII."""
    made = make("registration.refused", detail=refusal_detail("invalid_client_metadata", "why", requested, ()))

    assert made.body.isascii()
    assert len(made.body) < 3000


def test_what_is_repeated_of_a_refusal_is_short() -> None:
    """At most twenty redirect URIs are repeated, each shortened; what was not sent is not told."""
    sent = {"redirect_uris": ["https://a.example/" + "x" * 500] * 50, "scope": None}
    detail = refusal_detail("e", "why", sent, iter([Finding("rule", "m", "refused", "r")]))  # type: ignore[arg-type]  # a verdict as JSON has it

    assert [len(uri) for uri in detail["requested_redirect_uris"]] == [80] * 20
    assert detail["requested_scope"] is None
    assert len(json.loads(make(detail=detail).body)["findings"]) == 1


def test_difference() -> None:
    """What changed between two registrations, absence being null, and people unnamed."""
    before = {"a": 1, "b": [1], "c": "x"}
    after = {"a": 1, "b": [2], "contacts": ["ann@app.example"], "d": "y"}

    changed = {"b": [[1], [2]], "c": ["x", None], "contacts": ["changed"], "d": [None, "y"]}
    assert difference(before, after) == changed
    assert list(difference(before, after)) == ["b", "c", "contacts", "d"]
    assert difference(before, before) == {}


def test_each_commitment_has_a_salt_of_its_own() -> None:
    """Erasing one disclosure leaves nothing behind that would open the other's commitment."""
    actor = Actor("operator", "local", person="ann", address="192.0.2.1")
    made = event("client.read", issuer="main", time_ms=1, actor=actor, salt=b"s" * 16)
    disclosed = json.loads(made.personal)
    committed = json.loads(made.body)["personal"]

    assert disclosed["address"][0] != disclosed["person"][0]
    for name, (salt, value) in disclosed.items():
        assert discloses(committed[name], bytes.fromhex(salt), name, value)
    assert not discloses(committed["address"], bytes.fromhex(disclosed["person"][0]), "address", "192.0.2.1")
