"""Expansions: every kind is found in a change that makes it, and in none that only takes away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain.expansion import KINDS, asks_again, expansions
from registrar.domain.metadata import MEMBERS, Role

WEB: dict[str, Any] = {
    "redirect_uris": ["https://app.example/cb"],
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks_uri": "https://keys.example/jwks",
    "scope": "openid email",
    "client_name": "Reader",
    "application_type": "web",
    "dpop_bound_access_tokens": True,
    "require_pushed_authorization_requests": True,
    "subject_type": "pairwise",
    "software_id": "s-1",
    "post_logout_redirect_uris": ["https://app.example/out"],
}
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("scope", {}, {"scope": "openid email phone"}),
    ("scope", {}, {"scope": None}),
    ("grant", {}, {"grant_types": ["authorization_code", "refresh_token"]}),
    ("response", {}, {"response_types": ["code", "code id_token"]}),
    ("redirect_host", {}, {"redirect_uris": ["https://app.example/cb", "https://evil.example/cb"]}),
    ("redirect_host", {}, {"redirect_uris": ["https://app.example:8443/cb", "http://127.0.0.1/cb"]}),
    ("redirect_host", {}, {"redirect_uris": ["com.example.app:/cb"]}),
    ("redirect_host", {}, {"redirect_uris": ["https://app.example:8443/cb"]}),
    ("redirect_uri", {}, {"redirect_uris": ["https://app.example/other"]}),
    ("redirect_uri", {"redirect_uris": ["http://127.0.0.1/a"]}, {"redirect_uris": ["http://localhost:9/b"]}),
    ("authentication", {}, {"token_endpoint_auth_method": "client_secret_basic"}),
    ("authentication", {"token_endpoint_auth_method": "client_secret_post"}, {"token_endpoint_auth_method": "none"}),
    ("key_host", {}, {"jwks_uri": "https://evil.example/jwks"}),
    ("key_host", {}, {"jwks_uri": "https://keys.example:8443/jwks"}),
    ("key_host", {"jwks_uri": None, "jwks": {"keys": [EC]}}, {"jwks_uri": "https://keys.example/jwks", "jwks": None}),
    ("keys", {"jwks_uri": None, "jwks": {"keys": [EC]}}, {"jwks": {"keys": [EC, OKP]}}),
    ("keys", {}, {"jwks_uri": "https://keys.example/another/jwks"}),
    ("keys", {}, {"jwks_uri": None, "jwks": {"keys": [EC]}}),
    ("details", {}, {"authorization_details_types": ["payment"]}),
    ("software", {}, {"software_id": "s-2"}),
    ("name", {}, {"client_name": "Writer"}),
    ("name", {}, {"client_name#fr": "Lecteur"}),
    ("name", {}, {"logo_uri": "https://app.example/l.png"}),
    ("type", {}, {"application_type": "native"}),
    ("unbound", {}, {"dpop_bound_access_tokens": False}),
    ("unsigned", {}, {"require_pushed_authorization_requests": None}),
    ("unsigned", {}, {"request_object_signing_alg": "none"}),
    ("certificate", {"tls_client_auth_subject_dn": "CN=a"}, {"tls_client_auth_subject_dn": "CN=b"}),
    ("certificate", {"tls_client_auth_san_dns": "a.example"}, {"tls_client_auth_san_dns": "b.example"}),
    ("destination", {}, {"backchannel_logout_uri": "https://evil.example/out"}),
    ("destination", {}, {"webhook_uris": ["https://evil.example"]}),
    ("unsigned", {"request_object_signing_alg": "PS256"}, {"request_object_signing_alg": None}),
    ("key_host", {}, {"signed_jwks_uri": "https://evil.example/jwks.jose"}),
    ("request_host", {}, {"request_uris": ["https://evil.example/request"]}),
    ("exposed", {"id_token_encrypted_response_alg": "RSA-OAEP-256"}, {"id_token_encrypted_response_alg": None}),
    ("exposed", {"id_token_signed_response_alg": "ES256"}, {"id_token_signed_response_alg": "none"}),
    ("page", {}, {"client_uri#fr": "https://evil.example/"}),
    ("page", {"tos_uri": "https://app.example/tos"}, {"tos_uri": "https://evil.example/tos"}),
    ("sector", {}, {"subject_type": "public"}),
    ("sector", {}, {"sector_identifier_uri": "https://s.example/uris"}),
]


def changed(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Metadata after a change; None takes a member away."""
    return {name: value for name, value in {**base, **change}.items() if value is not None}


@pytest.mark.requirement("SEED-70")
@pytest.mark.parametrize(("kind", "base", "change"), CASES)
def test_an_expansion_is_found(kind: str, base: dict[str, Any], change: dict[str, Any]) -> None:
    """By its own kind, and the change back is not one of it."""
    before = changed(WEB, base)
    after = changed(before, change)
    assert expansions(before, after) == (kind,)
    if kind not in (
        "redirect_uri",
        "name",
        "software",
        "type",
        "redirect_host",
        "key_host",
        "keys",
        "sector",
        "certificate",
        "page",
    ):
        assert kind not in expansions(after, before)


def test_what_asks_nobody_has_what_it_registered() -> None:
    """Where it registered no scope it had none of its own; where it asks people, it could ask for any."""
    machine = {"grant_types": ["client_credentials"]}
    assert expansions(machine, {**machine, "scope": "openid"}) == ("scope",)
    assert expansions({}, {"scope": "openid"}) == ()


def test_every_kind_is_shown() -> None:
    """None is in the table that nothing reaches, and each names a member."""
    assert {kind for kind, _, _ in CASES} == set(KINDS)
    assert {kind.member for kind in KINDS.values()} <= set(MEMBERS)


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "openid"},
        {"redirect_uris": []},
        {"grant_types": []},
        {"client_name": None},
        {"contacts": ["a@b.example"]},
        {"request_object_signing_alg": "PS256"},
        {"id_token_encrypted_response_alg": "RSA-OAEP-256"},
        {"post_logout_redirect_uris": ["https://app.example/elsewhere"]},
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"application_type": None},
    ],
)
def test_what_takes_away_is_none(change: dict[str, Any]) -> None:
    """Nor what leaves everything where it was."""
    assert expansions(WEB, changed(WEB, change)) == ()


def test_keys_and_paths_ask_nobody_again() -> None:
    """They are told, and a consent goes on to cover them; with anything else it does not."""
    assert not asks_again(("keys", "redirect_uri"))
    assert asks_again(("keys", "scope"))
    assert not asks_again(())


URLS = st.sampled_from(
    [
        "https://a.example/1",
        "https://a.example/2",
        "https://a.example:8443/1",
        "https://b.example/",
        "http://localhost/",
        "x.y:/",
    ]
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "redirect_uris": st.lists(URLS, max_size=3),
        "scope": st.sampled_from(["a", "a b", "b"]),
        "grant_types": st.lists(st.sampled_from(["x", "client_credentials"]), max_size=2),
        "token_endpoint_auth_method": st.sampled_from(["none", "client_secret_basic", "private_key_jwt", "odd"]),
        "jwks_uri": URLS,
        "client_name": st.sampled_from(["A", "B"]),
    },
)


@given(METADATA, METADATA, METADATA)
def test_nothing_is_gained_on_the_way(first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]) -> None:
    """What expands a registration in one step expands it in one of two steps: no detour is silent."""
    assert expansions(first, first) == ()
    # At the same host the narrower kind is found; on the way, what was gone for a while comes from another host.
    wider = {"redirect_uri": "redirect_host", "keys": "key_host"}
    steps = {wider.get(kind, kind) for kind in (*expansions(first, second), *expansions(second, third))}
    assert {wider.get(kind, kind) for kind in expansions(first, third)} <= steps


HOST = "https://evil.example/x"
WIDENED: dict[str, tuple[Any, Any, str]] = {
    "redirect_uris": (["https://app.example/cb"], [HOST], "redirect_host"),
    "token_endpoint_auth_method": ("private_key_jwt", "none", "authentication"),
    "grant_types": ([], ["refresh_token"], "grant"),
    "response_types": ([], ["code"], "response"),
    "application_type": ("web", "native", "type"),
    "client_name": ("Reader", "Bank", "name"),
    "client_uri": (None, HOST, "page"),
    "logo_uri": (None, HOST, "name"),
    "scope": ("openid", "openid email", "scope"),
    "tos_uri": (None, HOST, "page"),
    "policy_uri": (None, HOST, "page"),
    "jwks_uri": (None, HOST, "key_host"),
    "jwks": (None, {"keys": [EC]}, "keys"),
    "software_id": ("a", "b", "software"),
    "sector_identifier_uri": (None, HOST, "sector"),
    "subject_type": ("pairwise", "public", "sector"),
    "id_token_signed_response_alg": ("RS256", "none", "exposed"),
    "id_token_encrypted_response_alg": ("RSA-OAEP-256", None, "exposed"),
    "userinfo_signed_response_alg": ("RS256", None, "exposed"),
    "userinfo_encrypted_response_alg": ("RSA-OAEP-256", None, "exposed"),
    "request_object_signing_alg": ("PS256", None, "unsigned"),
    "initiate_login_uri": (None, HOST, "destination"),
    "request_uris": ([], [HOST], "request_host"),
    "require_signed_request_object": (True, False, "unsigned"),
    "require_pushed_authorization_requests": (True, False, "unsigned"),
    "tls_client_certificate_bound_access_tokens": (True, False, "unbound"),
    "tls_client_auth_subject_dn": (None, "CN=b", "certificate"),
    "tls_client_auth_san_dns": (None, "b.example", "certificate"),
    "tls_client_auth_san_uri": (None, "urn:b", "certificate"),
    "tls_client_auth_san_ip": (None, "192.0.2.1", "certificate"),
    "tls_client_auth_san_email": (None, "a@b.example", "certificate"),
    "dpop_bound_access_tokens": (True, False, "unbound"),
    "introspection_signed_response_alg": ("RS256", None, "exposed"),
    "introspection_encrypted_response_alg": ("RSA-OAEP-256", None, "exposed"),
    "post_logout_redirect_uris": ([], [HOST], "destination"),
    "frontchannel_logout_uri": (None, HOST, "destination"),
    "backchannel_logout_uri": (None, HOST, "destination"),
    "authorization_details_types": ([], ["payment"], "details"),
    "claims_redirect_uris": ([], [HOST], "destination"),
    "nfv_token_signed_response_alg": ("RS256", None, "exposed"),
    "nfv_token_encrypted_response_alg": ("RSA-OAEP-256", None, "exposed"),
    "signed_jwks_uri": (None, HOST, "key_host"),
    "authorization_signed_response_alg": ("PS256", None, "exposed"),
    "authorization_encrypted_response_alg": ("RSA-OAEP-256", None, "exposed"),
    "webhook_uris": ([], [HOST], "destination"),
    "backchannel_client_notification_endpoint": (None, HOST, "destination"),
    "backchannel_authentication_request_signing_alg": ("PS256", None, "unsigned"),
    "backchannel_user_code_parameter": (True, False, "unsigned"),
}
"""Member -> a change of it that gives its client more, and the kind that it is."""
HARMLESS = {
    "contacts": "for operators",
    "software_version": "what software it is stays",
    "id_token_encrypted_response_enc": "how, where it is encrypted",
    "userinfo_encrypted_response_enc": "how, where it is encrypted",
    "introspection_encrypted_response_enc": "how, where it is encrypted",
    "nfv_token_encrypted_response_enc": "how, where it is encrypted",
    "authorization_encrypted_response_enc": "how, where it is encrypted",
    "encrypted_response_enc_values_supported": "how, where it is encrypted",
    "request_object_encryption_alg": "who reads a request is the server",
    "request_object_encryption_enc": "who reads a request is the server",
    "token_endpoint_auth_signing_alg": "each that is offered proves the key",
    "default_max_age": "a request may say another",
    "require_auth_time": "what an ID token tells of the same sign-in",
    "default_acr_values": "a request may say others",
    "use_mtls_endpoint_aliases": "which address it calls",
    "frontchannel_logout_session_required": "what is told at the same place",
    "backchannel_logout_session_required": "what is told at the same place",
    "organization_name": "shown to nobody who decides",
    "organization_uri": "shown to nobody who decides",
    "description": "shown to nobody who decides",
    "keywords": "shown to nobody who decides",
    "information_uri": "shown to nobody who decides",
    "software_statement": "what it attests are members",
    "client_registration_types": "this one is registered",
    "vp_formats_supported": "what it can read",
    "backchannel_token_delivery_mode": "where they arrive is a member of its own",
}
"""Member -> why no change of it alone gives its client more."""


def test_every_member_is_thought_of() -> None:
    """A member that is new to the table is in one of the lists, or this fails."""
    assert {*WIDENED, *HARMLESS} == {name for name, row in MEMBERS.items() if row.role is Role.CLIENT}
    assert not WIDENED.keys() & HARMLESS.keys()


@pytest.mark.requirement("SEED-70")
@pytest.mark.parametrize("member", WIDENED)
def test_no_member_widens_unseen(member: str) -> None:
    """In a registration that has nothing else, and in one that has much."""
    then, now, kind = WIDENED[member]
    for base in ({"subject_type": "pairwise"}, WEB, {**WEB, "grant_types": ["client_credentials"]}):
        before = changed(base, {member: then})
        if then is None:
            before.pop(member, None)
        assert kind in expansions(before, changed(before, {member: now}))
