"""The judge: what a registration becomes under a policy, and everything that is said about it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registrar.domain import coherence, metadata
from registrar.domain.client import Assurance
from registrar.domain.findings import RULES, Finding, Verdict
from registrar.domain.metadata import ECHOED_EMPTY, MEMBERS, Presented, Role, Shaped
from registrar.domain.server_metadata import OFFERED, Offered, with_features
from registrar.policy import Decision, Facts, Judge, Policy, narrowed
from registrar.policy.document import ConfigurationError, Document
from registrar.policy.loader import load, shipped

FACTS = Facts(Assurance.OPEN)
SCOPES = Offered({**OFFERED, "scopes_supported": ("openid", "profile", "email")})
CB = {"redirect_uris": ["https://a.example/cb"]}
DEFAULTS = {
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "application_type": "web",
    "subject_type": "public",
    "id_token_signed_response_alg": "RS256",
    "require_auth_time": False,
    "request_uris": [],
    "require_signed_request_object": False,
    "post_logout_redirect_uris": [],
    "introspection_endpoint_auth_method": "client_secret_basic",
    "revocation_endpoint_auth_method": "client_secret_basic",
}


def policy(text: str = "") -> Policy:
    """The policy of a text."""
    document = Document("test", text)
    return load("test", document.data, document)


def judge(
    members: Mapping[str, Any],
    text: str = "",
    *,
    default_scope: tuple[str, ...] = (),
    offered: Offered = SCOPES,
) -> Decision:
    """The decision about presented members under the policy of a text."""
    bound = Judge(policy(text), offered, default_scope)
    shaped, findings = bound.read(Presented(dict(members)))
    return bound(shaped, FACTS, findings)


def refusals(decision: Decision) -> list[str]:
    """Rule and member of each refusal."""
    return [f"{one.rule}:{one.member}" for one in decision.findings if one.verdict is Verdict.REFUSED]


def changes(decision: Decision) -> list[str]:
    """Rule and member of each change."""
    return [f"{one.rule}:{one.member}" for one in decision.findings if one.verdict is Verdict.CHANGED]


# --- defaults -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement(
    "R7591-5", "R7591-8", "R7591-9", "R7591-42", "R7591-52", "SEED-46", "SEED-47", "SEED-48", "METAX-7"
)
@pytest.mark.requirement("META-2", "META-3", "META-4", "META-22", "META-24", "META-25", "META-36", "META-39", "META-50")
@pytest.mark.requirement("META-59", "OIDC-4", "AUTHM-3")
def test_defaults() -> None:
    """What was not asked for is registered as its default and written out; nothing of it is a finding."""
    decision = judge(CB)

    assert decision.metadata == CB | DEFAULTS
    assert decision.findings == ()
    assert decision.provenance == {}
    assert not decision.refused


@pytest.mark.requirement("D-6", "R7591-4", "WILD-19", "WILD-20")
def test_no_response_type_without_a_redirecting_grant() -> None:
    """A machine client gets no response type, and needs no redirect URI."""
    decision = judge({"grant_types": ["client_credentials"]})

    assert "response_types" not in decision.metadata
    assert decision.findings == ()


@pytest.mark.requirement("OIDC-22", "META-27", "META-30", "META-33", "META-54")
@pytest.mark.parametrize(
    "what",
    [
        "id_token_encrypted_response",
        "userinfo_encrypted_response",
        "request_object_encryption",
        "introspection_encrypted_response",
    ],
)
def test_content_encryption(what: str) -> None:
    """An encryption algorithm without a content encryption gets A128CBC-HS256; without the one there is not the other."""
    with_keys = {**CB, "jwks_uri": "https://a.example/jwks"}

    assert judge({**with_keys, f"{what}_alg": "RSA-OAEP-256"}).metadata[f"{what}_enc"] == "A128CBC-HS256"
    assert judge({**with_keys, f"{what}_alg": "ECDH-ES", f"{what}_enc": "A256GCM"}).metadata[f"{what}_enc"] == "A256GCM"
    assert f"{what}_enc" not in judge(with_keys).metadata
    assert refusals(judge({**with_keys, f"{what}_enc": "A128GCM"})) == [f"coherence.encryption:{what}_enc"]


@pytest.mark.requirement("METAX-7", "SEED-48")
def test_derived_members_follow() -> None:
    """Introspection and revocation are authenticated as the token endpoint is, whatever a client says."""
    decision = judge(
        {**CB, "token_endpoint_auth_method": "none", "revocation_endpoint_auth_method": "client_secret_post"}
    )

    assert decision.metadata["revocation_endpoint_auth_method"] == "none"
    assert decision.metadata["introspection_endpoint_auth_method"] == "none"
    assert decision.findings == ()


def test_empty_arrays_are_echoed_for_two_members_only() -> None:
    """Of all defaults only the two that the table names are empty."""
    assert {name for name, value in judge(CB).metadata.items() if value == []} == set(ECHOED_EMPTY)


# --- what is offered ------------------------------------------------------------------------------------------------------

SINGLE = sorted(name for name, row in MEMBERS.items() if row.offered and row.type == "string" and name != "scope")


@pytest.mark.requirement("D-11", "R7591-21", "OIDC-18", "OIDC-26", "META-2", "META-24", "META-25", "META-31", "META-34")
@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("value", ["RS999", "none ", "X"])
def test_single_values_that_are_not_offered(name: str, value: str) -> None:
    """A single value decides about security, so one that is not offered is refused, with what would be accepted."""
    row = MEMBERS[name]
    offered = with_features(Offered(OFFERED), frozenset({row.feature}))
    text = f'features = ["{row.feature}"]' if row.feature else ""
    decision = judge({**CB, name: value, "jwks_uri": "https://a.example/jwks"}, text)

    assert f"offered.value:{name}" in refusals(decision)
    found = next(one for one in decision.findings if one.rule == "offered.value")
    assert found.accepted == ", ".join(offered[row.offered])
    assert decision.refused


@pytest.mark.requirement("OIDC-26", "META-25", "META-31", "META-34", "R7591-1")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_endpoint_auth_signing_alg", "none"),
        ("id_token_signed_response_alg", "none"),
        ("request_object_signing_alg", "none"),
        ("userinfo_signed_response_alg", "none"),
        ("introspection_signed_response_alg", "none"),
        ("introspection_signed_response_alg", "HS256"),
        ("token_endpoint_auth_method", "Client_Secret_Basic"),
        ("token_endpoint_auth_method", "https://a.example/method"),
        ("id_token_signed_response_alg", "rs256"),
    ],
)
def test_values_that_are_never_offered(name: str, value: str) -> None:
    """An algorithm none, or a value in another letter case, is refused."""
    assert f"offered.value:{name}" in refusals(judge({**CB, name: value}))


@pytest.mark.requirement("D-11", "R7591-21", "R7591-10", "WILD-9", "BASE-14", "BASE-15", "D-8", "SEED-88")
def test_lists_are_narrowed() -> None:
    """Of a list what is not offered is dropped with a finding, and the rest is registered."""
    asked = {
        **CB,
        "grant_types": ["authorization_code", "password", "implicit", "refresh_token"],
        "response_types": ["token", "code"],
    }
    decision = judge(asked)

    assert decision.metadata["grant_types"] == ["authorization_code", "refresh_token"]
    assert decision.metadata["response_types"] == ["code"]
    assert changes(decision) == ["offered.dropped:grant_types", "offered.dropped:response_types"]
    assert not decision.refused
    assert decision.provenance == {"grant_types": "policy", "response_types": "policy"}
    found = decision.findings[0]
    assert (found.before, found.after) == (asked["grant_types"], ["authorization_code", "refresh_token"])
    assert "password, implicit" in found.reason


@pytest.mark.requirement("D-11", "R7591-10", "BASE-14", "BASE-15", "D-8", "R7591-1", "META-60")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grant_types", ["password"]),
        ("grant_types", ["implicit"]),
        ("grant_types", ["Authorization_Code"]),
        ("grant_types", ["urn:ietf:params:oauth:grant-type:jwt-bearer", "password"]),
        ("response_types", ["token"]),
        ("response_types", ["id_token", "code id_token"]),
        ("authorization_details_types", ["payment"]),
    ],
)
def test_lists_of_which_nothing_is_left(name: str, value: list[str]) -> None:
    """Where nothing of a list is offered the registration is refused, once, for that member."""
    assert refusals(judge({**CB, name: value})) == [f"offered.value:{name}"]


@pytest.mark.requirement("META-37", "OIDC-30")
def test_a_wish_that_cannot_be_met_is_dropped() -> None:
    """Contexts of authentication are voluntary: where none of them is offered the client is registered without."""
    decision = judge({**CB, "default_acr_values": ["urn:x"]})

    assert "default_acr_values" not in decision.metadata
    assert changes(decision) == ["offered.dropped:default_acr_values"]
    assert not decision.refused


def test_repetitions_are_dropped() -> None:
    """A value that stands twice is registered once."""
    decision = judge({**CB, "grant_types": ["authorization_code", "authorization_code"], "scope": "openid openid"})

    assert decision.metadata["grant_types"] == ["authorization_code"]
    assert decision.metadata["scope"] == "openid"
    assert changes(decision) == ["offered.dropped:grant_types", "offered.dropped:scope"]


@pytest.mark.requirement("META-37", "OIDC-30")
def test_order_is_kept() -> None:
    """What is offered is registered in the order in which it was asked for."""
    offered = Offered({**SCOPES, "acr_values_supported": ("1", "2", "3")})

    assert judge({**CB, "default_acr_values": ["3", "x", "1"]}, offered=offered).metadata["default_acr_values"] == [
        "3",
        "1",
    ]


@pytest.mark.requirement("R7591-23", "D-6")
def test_moot_response_types() -> None:
    """A response type beside grants that never redirect is dropped and told; it could not be used."""
    decision = judge({"grant_types": ["client_credentials"], "response_types": ["code", "token"]})

    assert "response_types" not in decision.metadata
    assert changes(decision) == ["offered.moot_response_types:response_types"]
    assert not decision.refused


# --- scopes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-14", "D-16", "META-8", "SEED-71", "SEED-88", "WILD-10")
@pytest.mark.parametrize(
    ("asked", "default", "registered", "told"),
    [
        (None, (), None, []),
        (None, ("openid", "email"), "openid email", []),
        ("openid", ("email",), "openid", []),
        ("profile openid", (), "profile openid", []),
        ("openid dcr admin", (), "openid", ["offered.dropped:scope"]),
        ("  openid   email ", (), "openid email", ["offered.dropped:scope"]),
        ("openid openid email", (), "openid email", ["offered.dropped:scope"]),
        ("dcr", ("openid",), "openid", ["offered.default_scope:scope"]),
        ("OPENID", ("email",), "email", ["offered.default_scope:scope"]),
        ("dcr", (), None, ["offered.default_scope:scope"]),
    ],
)
def test_scopes(asked: str | None, default: tuple[str, ...], registered: str | None, told: list[str]) -> None:
    """Scopes that are not registrable are dropped; where none is left, or none was named, the default is registered."""
    decision = judge({**CB, "scope": asked}, default_scope=default)

    assert decision.metadata.get("scope") == registered
    assert changes(decision) == told
    assert not decision.refused


# --- policies -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-85", "R7591-42")
def test_a_policy_sets_defaults() -> None:
    """A default of the policy goes before that of the table, is told, and yields to what was asked for."""
    text = "[metadata.id_token_signed_response_alg]\ndefault = 'ES256'\n[metadata.scope]\ndefault = 'email'"
    decision = judge(CB, text, default_scope=("openid",))

    assert decision.metadata["id_token_signed_response_alg"] == "ES256"
    assert decision.metadata["scope"] == "email"
    assert changes(decision) == ["policy.default:scope", "policy.default:id_token_signed_response_alg"]
    assert decision.provenance == {"scope": "policy", "id_token_signed_response_alg": "policy"}
    assert (
        judge({**CB, "id_token_signed_response_alg": "PS256"}, text).metadata["id_token_signed_response_alg"] == "PS256"
    )


@pytest.mark.requirement("SEED-86", "BASE-21", "OIDC-27")
def test_a_policy_overrides() -> None:
    """A forced method is registered instead of the one asked for, and refused where the client has no keys for it."""
    text = "[metadata.token_endpoint_auth_method]\nvalue = 'private_key_jwt'"
    asked = {**CB, "token_endpoint_auth_method": "client_secret_basic"}

    decision = judge({**asked, "jwks_uri": "https://a.example/jwks"}, text)
    assert decision.metadata["token_endpoint_auth_method"] == "private_key_jwt"
    assert decision.metadata["revocation_endpoint_auth_method"] == "private_key_jwt"
    assert not decision.refused
    assert refusals(judge(asked, text)) == ["coherence.keys:token_endpoint_auth_method"]


@pytest.mark.requirement("R7591-62", "SEED-61")
def test_public_clients_are_a_matter_of_policy() -> None:
    """A client without credentials is registered, except under a policy that demands some."""
    asked = {**CB, "token_endpoint_auth_method": "none"}
    text = "[metadata.token_endpoint_auth_method]\none_of = ['client_secret_basic', 'private_key_jwt']"

    assert judge(asked).metadata["token_endpoint_auth_method"] == "none"
    assert refusals(judge(asked, text)) == ["policy.one_of:token_endpoint_auth_method"]


@pytest.mark.requirement("SEED-87", "SEED-61", "SEED-75", "SEED-79")
def test_a_policy_requires() -> None:
    """Missing members and other values are refused, each by its operator."""
    text = """
[metadata.token_endpoint_auth_method]
one_of = ["private_key_jwt", "tls_client_auth"]
[metadata.contacts]
essential = true
[metadata.scope]
superset_of = ["openid"]
[metadata.redirect_uris]
subset_of = ["https://ok.example/cb"]
"""
    assert refusals(judge({**CB, "scope": "email"}, text)) == [
        "policy.redirect_uris:redirect_uris",
        "policy.one_of:token_endpoint_auth_method",
        "policy.superset_of:scope",
        "policy.essential:contacts",
    ]
    good = {
        "redirect_uris": ["https://ok.example/cb"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": "https://a.example/jwks",
        "contacts": ["ops"],
        "scope": "email openid",
    }
    assert judge(good, text).findings == ()


@pytest.mark.requirement("R7591-4", "R7591-58")
def test_essential_redirect_uris() -> None:
    """A policy may demand redirect URIs of every client; the refusal has their code."""
    decision = judge({"grant_types": ["client_credentials"]}, "[metadata.redirect_uris]\nessential = true")

    assert [(one.rule, one.error) for one in decision.findings] == [("policy.essential", "invalid_redirect_uri")]


def test_a_default_of_the_table_is_checked_too() -> None:
    """What the table fills in does not escape the policy."""
    text = "[metadata.token_endpoint_auth_method]\none_of = ['none']"

    assert refusals(judge(CB, text)) == ["policy.one_of:token_endpoint_auth_method"]


def test_subset_of_narrows_what_is_registered() -> None:
    """What is offered but not allowed by the policy is dropped as well; of scopes likewise."""
    text = "[metadata.grant_types]\nsubset_of = ['authorization_code']\n[metadata.scope]\nsubset_of = ['openid']"
    decision = judge({**CB, "grant_types": ["authorization_code", "refresh_token"], "scope": "openid email"}, text)

    assert (decision.metadata["grant_types"], decision.metadata["scope"]) == (["authorization_code"], "openid")
    assert changes(decision) == ["policy.subset_of:grant_types", "policy.subset_of:scope"]


def test_the_result_is_judged() -> None:
    """What a policy makes of a request is held to the rules of coherence, as if it had been asked for."""
    text = "[metadata.grant_types]\nadd = ['client_credentials']"

    assert refusals(judge({**CB, "token_endpoint_auth_method": "none"}, text)) == [
        "coherence.client_credentials:grant_types"
    ]


def test_findings_of_the_steps_before_stand_first() -> None:
    """The decision holds what the parser found, then what the policy did, then its rules, then coherence."""
    asked = {
        "zzz": 1,
        "redirect_uris": ["http://localhost/cb"],
        "grant_types": ["authorization_code", "x"],
        "userinfo_encrypted_response_enc": "A128GCM",
    }
    decision = judge(asked, "rules = [{ rule = 'localhost' }]")

    assert [one.rule for one in decision.findings] == [
        *("metadata.unknown", "offered.dropped", "rule.localhost", "coherence.encryption")
    ]


# --- faults that follow from others ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-58")
@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"redirect_uris": ["http://a.example"]}, ["redirect_uri.plain_http:redirect_uris[0]"]),
        ({"redirect_uris": "x"}, ["redirect_uri.type:redirect_uris"]),
        ({"redirect_uris": ["x"], "frontchannel_logout_uri": "https://a.example/out"}, ["redirect_uri.absolute:redirect_uris[0]"]),
        ({**CB, "grant_types": ["password"], "response_types": ["token"]}, ["offered.value:grant_types"]),
        ({"grant_types": ["implicit"]}, ["offered.value:grant_types"]),
        ({**CB, "response_types": ["token"]}, ["offered.value:response_types"]),
        ({**CB, "token_endpoint_auth_method": "private_key_jwt", "jwks": {}}, ["jwks.shape:jwks"]),
        ({**CB, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://a"}, ["metadata.https:jwks_uri"]),
        (
            {**CB, "jwks": {"keys": [{"kty": "oct"}]}, "id_token_encrypted_response_alg": "ECDH-ES"},
            ["jwks.symmetric:jwks.keys[0]"],
        ),
        (
            {**CB, "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "*"},
            ["metadata.san:tls_client_auth_san_dns"],
        ),
        (
            {**CB, "userinfo_encrypted_response_alg": 1, "userinfo_encrypted_response_enc": "A128GCM"},
            ["metadata.type:userinfo_encrypted_response_alg"],
        ),
        (
            {**CB, "request_object_encryption_alg": 1, "request_object_encryption_enc": "A128GCM"},
            ["metadata.type:request_object_encryption_alg"],
        ),
        ({**CB, "userinfo_encrypted_response_alg": "x"}, ["offered.value:userinfo_encrypted_response_alg"]),
    ],
)  # fmt: skip
def test_a_fault_is_told_once(members: dict[str, Any], told: list[str]) -> None:
    """What only follows from a fault that was told is not told beside it."""
    assert refusals(judge(members)) == told


def test_independent_faults_are_all_told() -> None:
    """What does not follow from another fault is told with it."""
    decision = judge(
        {
            "redirect_uris": ["x"],
            "logo_uri": "x",
            "token_endpoint_auth_method": "none",
            "id_token_signed_response_alg": "HS256",
        }
    )

    assert refusals(decision) == [
        *("redirect_uri.absolute:redirect_uris[0]", "metadata.web_page:logo_uri"),
        "coherence.public_symmetric:id_token_signed_response_alg",
    ]


# --- rules ----------------------------------------------------------------------------------------------------------------

SAME_HOST = "rules = [{ rule = 'same_host', members = ['logo_uri', 'client_uri'], verdict = '%s' }]"


@pytest.mark.requirement("R7591-65", "OIDC-49")
@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({**CB, "logo_uri": "https://a.example/logo"}, []),
        ({**CB, "logo_uri": "https://A.example:8443/logo"}, []),
        ({**CB, "tos_uri": "https://b.example/"}, []),
        ({**CB, "logo_uri": "https://b.example/logo"}, ["logo_uri"]),
        ({**CB, "logo_uri": "https://a.example.evil.example/"}, ["logo_uri"]),
        ({**CB, "logo_uri": "https://evil-a.example/"}, ["logo_uri"]),
        ({**CB, "logo_uri": "https://cdn.a.example/"}, ["logo_uri"]),
        ({**CB, "logo_uri": "https://b.example/", "client_uri": "https://c.example"}, ["logo_uri", "client_uri"]),
        ({**CB, "logo_uri#fr": "https://b.example/logo", "logo_uri": "https://a.example"}, ["logo_uri#fr"]),
        ({"redirect_uris": ["com.example:/cb", "http://localhost/cb"], "logo_uri": "https://b.example/"}, []),
        ({"redirect_uris": ["HTTPS://A.example/cb", "https://b.example/cb"], "logo_uri": "https://b.example/"}, []),
        ({"grant_types": ["client_credentials"], "logo_uri": "https://b.example/"}, []),
    ],
)
def test_same_host(members: dict[str, Any], told: list[str]) -> None:
    """The named pages are on the host of a redirect URI, in every language; clients without a web redirect are exempt."""
    for verdict in ("refuse", "warn"):
        decision = judge(members, SAME_HOST % verdict)
        found = [one for one in decision.findings if one.rule == "rule.same_host"]
        assert [one.member for one in found] == told
        assert {one.verdict for one in found} <= {Verdict.REFUSED if verdict == "refuse" else Verdict.WARNED}
        assert decision.refused is bool(told and verdict == "refuse")


@pytest.mark.requirement("BASE-7", "D-12")
@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("http://localhost", True),
        ("http://localhost/cb", True),
        ("HTTP://LOCALHOST:80/cb", True),
        ("http://127.0.0.1/localhost", False),
        ("http://[::1]/", False),
        ("https://localhost.example/", False),
    ],
)
def test_localhost(uri: str, told: bool) -> None:
    """A redirect to localhost is remarked on, or refused where the policy says so, with its place."""
    asked = {"redirect_uris": ["https://a.example/cb", uri]}
    warned = judge(asked, "rules = [{ rule = 'localhost' }]")
    refused = judge(asked, "rules = [{ rule = 'localhost', verdict = 'refuse' }]")

    assert [one.member for one in warned.findings] == ["redirect_uris[1]"] * told
    assert not warned.refused
    assert refusals(refused) == ["rule.localhost:redirect_uris[1]"] * told
    assert judge({"grant_types": ["client_credentials"]}, "rules = [{ rule = 'localhost' }]").findings == ()


@pytest.mark.requirement("R7591-65", "BASE-7", "SEED-42", "D-1")
def test_the_default_policy_only_warns() -> None:
    """Under the policy `default` hosts that differ and localhost are remarked on, and the registration stands."""
    asked = {
        "redirect_uris": ["http://localhost:9000/callback", "https://a.example/cb"],
        "logo_uri": "https://b.example/",
    }
    shaped, findings = metadata.parse(Presented(asked))
    decision = Judge(shipped()["default"], SCOPES)(shaped, FACTS, findings)

    assert [(one.rule, one.verdict) for one in decision.findings] == [
        ("rule.same_host", Verdict.WARNED),
        ("rule.localhost", Verdict.WARNED),
    ]
    assert decision.metadata["redirect_uris"] == asked["redirect_uris"]


@pytest.mark.requirement("SEED-42", "SEED-45", "SEED-46", "SEED-47", "SEED-48", "D-1")
def test_the_first_registration_ever_captured() -> None:
    """The request of the oldest example is registered as its answer shows, under the policy `default`."""
    asked = {
        "client_name": "DCR Client",
        "redirect_uris": ["http://localhost:9000/callback"],
        "client_uri": "http://localhost:9000",
        "grant_types": ["authorization_code"],
        "scope": "openid",
    }
    shaped, findings = metadata.parse(Presented(dict(asked)))
    decision = Judge(shipped()["default"], SCOPES)(shaped, FACTS, findings)

    assert decision.metadata == asked | DEFAULTS
    assert not decision.refused


# --- what discovery publishes -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DISC-20", "DISC-14")
def test_narrowed() -> None:
    """What is published is what at least one policy in force lets through; what no policy speaks of stays."""
    strict = policy(
        "[metadata.token_endpoint_auth_method]\none_of = ['private_key_jwt']\n[metadata.scope]\nsubset_of = ['openid']"
    )
    secret = policy(
        "[metadata.token_endpoint_auth_method]\nvalue = 'client_secret_post'\n[metadata.scope]\nsubset_of = ['email']"
    )

    one, both = narrowed(SCOPES, [strict]), narrowed(SCOPES, iter([strict, secret]))
    assert one["token_endpoint_auth_methods_supported"] == ("private_key_jwt",)
    assert one["scopes_supported"] == ("openid",)
    assert both["token_endpoint_auth_methods_supported"] == ("client_secret_post", "private_key_jwt")
    assert both["scopes_supported"] == ("openid", "email")
    assert one["code_challenge_methods_supported"] == ("S256",)
    assert narrowed(SCOPES, [policy()]) == SCOPES
    assert list(narrowed(SCOPES, [])) == list(SCOPES)


@pytest.mark.requirement("DISC-20")
@pytest.mark.parametrize("name", [name for name, row in MEMBERS.items() if row.offered and OFFERED[row.offered]])
def test_what_is_published_is_accepted(name: str) -> None:
    """Each published value is registered as it stands, and no other value is."""
    row = MEMBERS[name]
    for value in OFFERED[row.offered]:
        members: dict[str, Any] = {**CB, "jwks_uri": "https://a.example/jwks", name: value}
        if row.type == "array of strings":
            members[name] = [value]
        decision = Judge(policy(), SCOPES)(Shaped(members), FACTS)
        assert decision.metadata[name] == members[name]
        assert not [one for one in decision.findings if one.rule.startswith("offered.")]


def test_every_rule_is_reached() -> None:
    """No rule of the judge is left out above."""
    assert {name for name in RULES if name.startswith("offered.")} == {
        f"offered.{name}" for name in ("value", "dropped", "moot_response_types", "default_scope")
    }


# --- properties -------------------------------------------------------------------------------------------------------------

_words = st.sampled_from(
    ["authorization_code", "refresh_token", "client_credentials", "password", "code", "token", "x", "openid", ""]
)
_texts = st.one_of(
    _words,
    st.sampled_from(
        ["none", "private_key_jwt", "tls_client_auth", "HS256", "RS256", "dir", "A128GCM", "pairwise", "web"]
    ),
    st.sampled_from(
        [
            "https://a.example/x",
            "https://b.example/",
            "http://localhost:1/x",
            "com.a:/b",
            "com.a://b:c/d",
            "openid email",
        ]
    ),
)
_values = st.one_of(
    _texts,
    st.booleans(),
    st.integers(0, 10),
    st.lists(_texts, max_size=4),
    st.just({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}),
)
_requests = st.dictionaries(st.sampled_from([*MEMBERS, "logo_uri#fr", "zzz"]), _values, max_size=12)
_names = st.sampled_from([name for name, row in MEMBERS.items() if row.role is Role.CLIENT and not row.feature])
_operators = st.fixed_dictionaries(
    {},
    optional={
        "value": _values,
        "default": _values,
        "add": st.lists(_texts, min_size=1, max_size=2),
        "one_of": st.lists(_values, min_size=1, max_size=3),
        "subset_of": st.lists(_texts, min_size=1, max_size=4),
        "superset_of": st.lists(_texts, min_size=1, max_size=2),
        "essential": st.booleans(),
    },
)
_rules = st.lists(
    st.sampled_from(
        [
            {"rule": "localhost", "verdict": "refuse"},
            {"rule": "localhost"},
            {"rule": "same_host", "members": ["logo_uri", "frontchannel_logout_uri"]},
        ]
    ),
    max_size=2,
)
LIKELY = [
    ("token_endpoint_auth_method", {"one_of": ["private_key_jwt", "none"], "default": "none"}),
    ("grant_types", {"subset_of": ["authorization_code", "refresh_token"]}),
    ("grant_types", {"add": ["client_credentials"]}),
    ("scope", {"value": "openid"}),
    ("scope", {"subset_of": ["openid", "email"], "superset_of": ["openid"]}),
    ("response_types", {"value": ["code"]}),
    ("contacts", {"essential": True}),
    ("redirect_uris", {"subset_of": ["https://a.example/x", "com.a:/b"]}),
]


def taken(members: list[tuple[str, dict[str, Any]]], rules: list[dict[str, Any]]) -> Policy:
    """A policy of those tables that the loader takes."""
    kept: dict[str, Any] = {}
    for name, table in members:
        try:
            load("p", {"metadata": {name: table}}, Document("p", ""))
        except ConfigurationError:
            continue
        kept[name] = table
    return load("p", {"metadata": kept, "rules": rules}, Document("p", ""))


_policies = st.builds(
    taken, st.lists(st.one_of(st.sampled_from(LIKELY), st.tuples(_names, _operators)), max_size=5), _rules
)


@settings(max_examples=200)
@given(_requests, _policies, st.sampled_from([(), ("openid",)]))
def test_judging_is_total_and_deterministic(request: dict[str, Any], rules: Policy, scope: tuple[str, ...]) -> None:
    """Any request under any policy that loads gives one decision, the same each time, and nothing that was passed in changes."""
    shaped, findings = metadata.parse(Presented(request))
    before = copy.deepcopy((shaped, findings))
    judge_ = Judge(rules, SCOPES, scope)
    decision = judge_(shaped, FACTS, findings)

    assert judge_(shaped, FACTS, findings) == decision
    assert (shaped, findings) == before
    assert decision.findings[: len(findings)] == tuple(findings)
    assert all(isinstance(one, Finding) for one in decision.findings)
    assert decision.metadata.get("redirect_uris") == shaped.get("redirect_uris")
    assert set(decision.provenance) == {one.member for one in decision.findings if one.verdict is Verdict.CHANGED}


@settings(max_examples=200)
@given(st.lists(_requests, min_size=2, max_size=4), _policies)
def test_decisions_are_independent(requests: list[dict[str, Any]], rules: Policy) -> None:
    """What a judge decided before has no influence, however much alike two requests are."""
    experienced = Judge(rules, SCOPES)
    for request in [*requests, *requests, {name: requests[0].get(name) for name in requests[1]}]:
        shaped, findings = metadata.parse(Presented(request))
        assert experienced(shaped, FACTS, findings) == Judge(rules, SCOPES)(shaped, FACTS, findings)


def test_what_a_judge_remembers_is_bounded() -> None:
    """Thousands of unlike requests, and huge ones, are each decided on their own and not all kept."""
    experienced = Judge(policy(), SCOPES)
    for at in range(3000):
        decision = experienced(Shaped({**CB, "scope": f"openid x{at}"}), FACTS)
        assert decision.metadata["scope"] == "openid"
        assert f"x{at}," in decision.findings[0].reason
    held = len(experienced._outlines)
    experienced(Shaped({**CB, "scope": "openid " + "x" * 1500}), FACTS)

    assert held <= 1024
    assert len(experienced._outlines) == held


@settings(max_examples=200)
@given(_requests, _policies, st.sampled_from([(), ("openid",)]))
def test_what_is_registered_may_be_registered_again(
    request: dict[str, Any], rules: Policy, scope: tuple[str, ...]
) -> None:
    """The result of a decision, presented again, has the right shape and is registered unchanged."""
    shaped, findings = metadata.parse(Presented(request))
    decision = Judge(rules, SCOPES, scope)(shaped, FACTS, findings)
    if decision.refused:
        return
    again, faults = metadata.parse(Presented(dict(decision.metadata)))
    second = Judge(rules, SCOPES, scope)(again, FACTS, faults)

    assert not second.refused
    assert second.metadata == decision.metadata
    assert not set(second.provenance) & set(second.metadata)


@settings(max_examples=200)
@given(_requests)
def test_nothing_is_registered_that_was_not_offered(request: dict[str, Any]) -> None:
    """Of what this server lists as offered, a registration that stands holds nothing else, and no empty values."""
    decision = judge(request)
    if decision.refused:
        return
    for name, value in decision.metadata.items():
        row = MEMBERS[name.partition("#")[0]]
        assert value not in (None, "")
        assert value != [] or name in ECHOED_EMPTY
        if row.offered:
            words = value.split(" ") if name == "scope" else value if isinstance(value, list) else [value]
            assert set(words) <= set(SCOPES[row.offered])


@settings(max_examples=500)
@given(_requests, _policies)
def test_what_is_registered_is_coherent(request: dict[str, Any], rules: Policy) -> None:
    """No shortcut of the judge lets a registration stand that coherence would refuse."""
    shaped, findings = metadata.parse(Presented(request))
    experienced = Judge(rules, SCOPES)
    for _ in range(2):
        decision = experienced(shaped, FACTS, findings)
        assert decision.refused or not coherence.judge(decision.metadata)


class _Watched(dict[str, Any]):
    """Members that note what is asked of them."""

    def __init__(self, members: dict[str, Any]) -> None:
        super().__init__(members)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)


@settings(max_examples=500)
@given(_requests)
def test_coherence_says_what_it_looks_at(request: dict[str, Any]) -> None:
    """The list by which the judge spares itself the look holds every member that coherence ever reads."""
    shaped, _ = metadata.parse(Presented(request))
    watched = _Watched(dict(judge(request).metadata) | dict(shaped))
    coherence.judge(watched)
    assert watched.asked <= coherence.LOOKED_AT
