"""What must hold between the members of a registration: for each rule what breaks it and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from test_domain_jwks import EC, RSA, RSA_CERTIFICATE, x5c

from registrar.domain import coherence
from registrar.domain.coherence import needs_secret, needs_symmetric_key
from registrar.domain.findings import RULES, Finding
from registrar.domain.metadata import MEMBERS

CODE: dict[str, Any] = {
    "redirect_uris": ["https://a.example/cb"],
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
}
MACHINE: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_basic", "grant_types": ["client_credentials"]}
BARE: dict[str, Any] = {"kty": "RSA", "n": RSA["n"], "e": RSA["e"]}
JWKS = {"keys": [BARE]}
CERTIFIED = {"keys": [EC, {**BARE, "x5c": x5c(RSA_CERTIFICATE)}]}


SECTOR = "https://a.example/sector"
UNREAD = [None, {"redirect_uris": CODE["redirect_uris"]}, CODE["redirect_uris"][0], [*CODE["redirect_uris"], 1]]


def judge(base: dict[str, Any], documents: dict[str, Any] | None = None, **members: Any) -> list[Finding]:
    """The faults of a registration with these members over others; None takes one away."""
    decided = {name: value for name, value in (base | members).items() if value is not None}
    return coherence.judge(decided, documents or {})


def marked(*cases: tuple[str, str, dict[str, Any], dict[str, Any]]) -> list[Any]:
    """Cases as parameters that carry their requirements."""
    return [pytest.param(*rest, marks=pytest.mark.requirement(*ids.split()) if ids else ()) for ids, *rest in cases]


IMPLICIT = {"grant_types": ["authorization_code", "implicit"], "response_types": ["code id_token"]}

BROKEN = marked(
    ("OIDC-5", "implicit_web:redirect_uris[0]", CODE, {**IMPLICIT, "redirect_uris": ["http://127.0.0.1/cb"]}),
    ("OIDC-5", "implicit_web:redirect_uris[0]", CODE, {**IMPLICIT, "redirect_uris": ["http://localhost:9/cb"]}),
    ("OIDC-5", "implicit_web:redirect_uris[0]", CODE, {**IMPLICIT, "redirect_uris": ["https://LOCALHOST/cb"]}),
    ("OIDC-5", "implicit_web:redirect_uris[1]", CODE, {**IMPLICIT, "redirect_uris": ["https://a.example/cb", "com.example:/cb"]}),
    ("OIDC-5", "implicit_web:redirect_uris[0]", CODE, {**IMPLICIT, "application_type": "web", "redirect_uris": ["http://[::1]/cb"]}),
    ("", "unsigned_id_token:id_token_signed_response_alg", CODE, {"grant_types": ["implicit"], "response_types": ["id_token"], "id_token_signed_response_alg": "none"}),
    ("R7591-4 OIDC-1", "redirect_uris:redirect_uris", CODE, {"redirect_uris": None}),
    ("R7591-4", "redirect_uris:redirect_uris", CODE, {"redirect_uris": None, "grant_types": ["authorization_code", "refresh_token"]}),
    ("R7591-4", "redirect_uris:redirect_uris", CODE, {"redirect_uris": None, "grant_types": ["implicit"], "response_types": ["token"]}),
    ("OIDC-2 R7591-23", "response_types:response_types", CODE, {"response_types": ["token"]}),
    ("OIDC-2 R7591-23", "response_types:response_types", CODE, {"response_types": ["code", "id_token"]}),
    ("OIDC-2 R7591-23", "response_types:response_types", CODE, {"response_types": ["code id_token"]}),
    ("OIDC-2", "response_types:response_types", CODE, {"grant_types": ["implicit"]}),
    ("OIDC-2", "response_types:response_types", CODE, {"grant_types": ["implicit"], "response_types": ["code token"]}),
    ("OIDC-2", "response_types:response_types", CODE, {"response_types": ["code id_token token"]}),
    ("D-6 R7591-23", "response_types:response_types", MACHINE, {"response_types": ["code"]}),
    ("R7591-23", "response_types:response_types", MACHINE, {"grant_types": ["password"], "response_types": ["token"]}),
    ("R7591-1", "response_types:response_types", CODE, {"response_types": ["Code"]}),
    ("", "response_types:response_types", CODE, {"response_types": ["none"]}),
    ("", "response_types:response_types", CODE, {"response_types": ["code  token"], "grant_types": ["authorization_code", "implicit"]}),
    ("D-6", "no_response_type:response_types", CODE, {"response_types": None}),
    ("D-6", "no_response_type:response_types", CODE, {"response_types": None, "grant_types": ["implicit"]}),
    ("R7591-16 META-12 META-13", "jwks:jwks", CODE, {"jwks": JWKS, "jwks_uri": "https://a.example/jwks"}),
    ("OIDC-27 AUTHM-5", "keys:token_endpoint_auth_method", CODE, {"token_endpoint_auth_method": "private_key_jwt"}),
    ("OIDC-27 AUTHM-7", "keys:token_endpoint_auth_method", CODE, {"token_endpoint_auth_method": "self_signed_tls_client_auth"}),
    ("OIDC-27", "keys:id_token_encrypted_response_alg", CODE, {"id_token_encrypted_response_alg": "RSA-OAEP-256"}),
    ("OIDC-27", "keys:userinfo_encrypted_response_alg", CODE, {"userinfo_encrypted_response_alg": "ECDH-ES"}),
    ("OIDC-27", "keys:introspection_encrypted_response_alg", CODE, {"introspection_encrypted_response_alg": "ECDH-ES"}),
    ("OIDC-27", "keys:request_object_signing_alg", CODE, {"request_object_signing_alg": "ES256"}),
    ("AUTHM-7", "self_signed_tls_client_auth:token_endpoint_auth_method", CODE, {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": JWKS}),
    ("AUTHM-6 META-45", "tls_client_auth:token_endpoint_auth_method", CODE, {"token_endpoint_auth_method": "tls_client_auth"}),
    (
        "AUTHM-6 META-45 META-46",
        "tls_client_auth:token_endpoint_auth_method",
        CODE,
        {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": "CN=a", "tls_client_auth_san_dns": "a.b"},
    ),
    ("OIDC-26", "token_endpoint_auth_signing_alg:token_endpoint_auth_signing_alg", CODE, {"token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "RS256"}),
    (
        "OIDC-26 META-34",
        "token_endpoint_auth_signing_alg:token_endpoint_auth_signing_alg",
        CODE,
        {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS, "token_endpoint_auth_signing_alg": "HS256"},
    ),
    ("OIDC-22 META-27", "encryption:id_token_encrypted_response_enc", CODE, {"id_token_encrypted_response_enc": "A128GCM"}),
    ("OIDC-22 META-30", "encryption:userinfo_encrypted_response_enc", CODE, {"userinfo_encrypted_response_enc": "A128GCM"}),
    ("OIDC-22 META-33", "encryption:request_object_encryption_enc", CODE, {"request_object_encryption_enc": "A128GCM"}),
    ("METAX-2", "encryption:authorization_encrypted_response_enc", CODE, {"authorization_encrypted_response_enc": "A128GCM"}),
    ("META-54", "encryption:introspection_encrypted_response_enc", CODE, {"introspection_encrypted_response_enc": "A128GCM"}),
    *(
        ("OIDC-53", f"public_symmetric:{name}", CODE, {"token_endpoint_auth_method": "none", "jwks": JWKS, name: value})
        for name, value in (
            ("id_token_signed_response_alg", "HS256"),
            ("id_token_encrypted_response_alg", "dir"),
            ("userinfo_signed_response_alg", "HS512"),
            ("userinfo_encrypted_response_alg", "A256KW"),
            ("request_object_signing_alg", "HS384"),
            ("request_object_encryption_alg", "dir"),
            ("introspection_encrypted_response_alg", "dir"),
        )
    ),
    ("", "client_credentials:grant_types", MACHINE, {"token_endpoint_auth_method": "none"}),
    ("OIDC-19", "sector:subject_type", CODE, {"subject_type": "pairwise", "redirect_uris": ["https://a.example/cb", "https://b.example/cb"]}),
    ("OIDC-19", "sector:subject_type", CODE, {"subject_type": "pairwise", "redirect_uris": ["https://a.example/cb", "com.example:/cb"]}),
    ("", "sector_identifier_uri:sector_identifier_uri", CODE, {"sector_identifier_uri": "https://a.example/sector"}),
    ("OIDC-56 META-55", "frontchannel_logout_uri:frontchannel_logout_uri", CODE, {"frontchannel_logout_uri": "https://b.example/out"}),
    ("OIDC-56 META-55", "frontchannel_logout_uri:frontchannel_logout_uri", CODE, {"frontchannel_logout_uri": "https://a.example:8443/out"}),
    ("OIDC-56", "frontchannel_logout_uri:frontchannel_logout_uri", CODE, {"frontchannel_logout_uri": "http://localhost/out"}),
    ("OIDC-56", "frontchannel_logout_uri:frontchannel_logout_uri", CODE, {"redirect_uris": ["a.b:/x"], "frontchannel_logout_uri": "c.d:/x"}),
    ("OIDC-56", "frontchannel_logout_uri:frontchannel_logout_uri", CODE, {"redirect_uris": ["a.b://h:x/"], "frontchannel_logout_uri": "a.b://g:x/"}),
    ("", "frontchannel_logout_uri:frontchannel_logout_uri", MACHINE, {"frontchannel_logout_uri": "https://a.example/out"}),
    ("OIDC-55 META-57", "backchannel_logout_uri:backchannel_logout_uri", CODE, {"token_endpoint_auth_method": "none", "backchannel_logout_uri": "HTTP://localhost/out"}),
    ("META-44 META-61", "sender_constraint:dpop_bound_access_tokens", CODE, {"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": True}),
)  # fmt: skip


@pytest.mark.parametrize(("fault", "base", "members"), BROKEN)
def test_incoherent(fault: str, base: dict[str, Any], members: dict[str, Any]) -> None:
    """What does not go together is refused by one rule, at the member that has to change, in full words."""
    (found,) = judge(base, **members)

    assert f"{found.rule}:{found.member}" == f"coherence.{fault}"
    assert found.error == (
        "invalid_redirect_uri" if found.member.startswith("redirect_uris") else "invalid_client_metadata"
    )
    assert "{" not in found.reason + found.accepted
    assert found.accepted


WHOLE = marked(
    ("OIDC-5", CODE, {**IMPLICIT, "application_type": "native", "redirect_uris": ["http://127.0.0.1/cb", "com.example:/cb"]}),
    ("OIDC-5", CODE, {**IMPLICIT, "redirect_uris": ["https://localhost.example/cb", "https://a.example/cb"]}),
    ("", CODE, {}),
    ("R7591-4 WILD-20", MACHINE, {}),
    ("R7591-23", MACHINE, {"grant_types": ["client_credentials", "refresh_token"]}),
    ("R7591-23", MACHINE, {"grant_types": ["urn:ietf:params:oauth:grant-type:device_code"]}),
    ("R7591-23", CODE, {"grant_types": ["authorization_code", "client_credentials", "refresh_token"]}),
    ("OIDC-2", CODE, {"grant_types": ["authorization_code", "implicit"], "response_types": ["code", "code id_token", "token"]}),
    ("OIDC-3", CODE, {"grant_types": ["implicit"], "response_types": ["token id_token", "id_token token", "id_token"]}),
    ("OIDC-3", CODE, {"grant_types": ["authorization_code", "implicit"], "response_types": ["token code", "id_token token code"]}),
    ("R7591-16", CODE, {"jwks": JWKS}),
    ("R7591-16", CODE, {"jwks_uri": "https://a.example/jwks"}),
    ("OIDC-27 AUTHM-5", CODE, {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS}),
    ("OIDC-27 AUTHM-5", CODE, {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://a.example/jwks"}),
    ("AUTHM-7", CODE, {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": CERTIFIED}),
    ("AUTHM-7", CODE, {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": "https://a.example/jwks"}),
    *(
        ("AUTHM-6 META-45 META-46 META-47 META-48 META-49", CODE, {"token_endpoint_auth_method": "tls_client_auth", name: "x"})
        for name in coherence.TLS_SUBJECTS
    ),
    ("", CODE, {"tls_client_auth_subject_dn": "CN=a", "tls_client_auth_san_dns": "a.b"}),
    ("OIDC-26", CODE, {"token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "HS512"}),
    ("OIDC-26", CODE, {"token_endpoint_auth_method": "private_key_jwt", "jwks": JWKS, "token_endpoint_auth_signing_alg": "PS256"}),
    ("", CODE, {"token_endpoint_auth_signing_alg": "HS256"}),
    ("OIDC-22", CODE, {"jwks": JWKS, "id_token_encrypted_response_alg": "ECDH-ES", "id_token_encrypted_response_enc": "A128GCM"}),
    ("OIDC-22", CODE, {"request_object_encryption_alg": "RSA-OAEP-256", "request_object_encryption_enc": "A128GCM"}),
    ("OIDC-27", CODE, {"id_token_encrypted_response_alg": "dir", "request_object_signing_alg": "HS256"}),
    ("OIDC-53", CODE, {"id_token_signed_response_alg": "HS256"}),
    ("OIDC-53", CODE, {"token_endpoint_auth_method": "none", "id_token_signed_response_alg": "RS256"}),
    ("OIDC-19", CODE, {"subject_type": "pairwise", "redirect_uris": ["https://a.example/cb", "https://A.example:8443/x"]}),
    ("OIDC-19", CODE, {"subject_type": "public", "redirect_uris": ["https://a.example/cb", "https://b.example/cb"]}),
    ("", MACHINE, {"subject_type": "pairwise"}),
    ("OIDC-56", CODE, {"frontchannel_logout_uri": "https://A.example:443/out"}),
    ("OIDC-56", CODE, {"redirect_uris": ["a.b:/x"], "frontchannel_logout_uri": "a.b:/out"}),
    ("OIDC-55", CODE, {"backchannel_logout_uri": "http://127.0.0.1/out"}),
    ("OIDC-55", CODE, {"token_endpoint_auth_method": "none", "backchannel_logout_uri": "https://a.example/out"}),
    ("META-61", CODE, {"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": False}),
    ("META-44", CODE, {"dpop_bound_access_tokens": False, "tls_client_certificate_bound_access_tokens": True}),
)  # fmt: skip


@pytest.mark.parametrize(("base", "members"), WHOLE)
def test_coherent(base: dict[str, Any], members: dict[str, Any]) -> None:
    """What goes together has no fault."""
    assert judge(base, **members) == []


@pytest.mark.requirement("OIDC-16", "OIDC-19")
def test_a_sector_document_settles_the_sector() -> None:
    """With a document that lists every redirect URI, and others too, several hosts are one sector."""
    uris = ["https://a.example/cb", "https://b.example/cb"]
    document = {"sector_identifier_uri": [*uris, "https://c.example/cb"]}

    assert judge(CODE, document, subject_type="pairwise", redirect_uris=uris, sector_identifier_uri=SECTOR) == []
    assert judge(MACHINE, {"sector_identifier_uri": []}, sector_identifier_uri=SECTOR) == []


@pytest.mark.requirement("OIDC-16", "OIDC-17")
def test_a_sector_document_lists_every_redirect_uri() -> None:
    """A redirect URI that the document does not list is refused, compared letter for letter, and the first is named."""
    document = {"sector_identifier_uri": ["https://a.example/cb"]}
    uris = ["https://a.example/cb", "https://a.example/CB", "https://b.example/cb"]
    (found,) = judge(CODE, document, redirect_uris=uris, sector_identifier_uri=SECTOR)

    assert (found.rule, found.member) == ("coherence.sector_lacks", "sector_identifier_uri")
    assert found.reason == "does not list https://a.example/CB"
    assert found.error == "invalid_client_metadata"


@pytest.mark.requirement("OIDC-16")
@pytest.mark.parametrize("document", UNREAD)
def test_a_sector_document_of_another_shape(document: Any) -> None:
    """What is no JSON array of strings lists nothing; where it could not be had at all, the reason is told."""
    (found,) = judge(CODE, {"sector_identifier_uri": document}, sector_identifier_uri=SECTOR)
    (missing,) = judge(CODE, {"sector_identifier_uri": "the host does not answer"}, sector_identifier_uri=SECTOR)

    assert found.rule == missing.rule == "coherence.sector_identifier_uri"
    assert "the host does not answer" in missing.reason


def test_every_fault_at_once() -> None:
    """Several incoherences are told together, in a fixed order."""
    found = judge(
        CODE,
        redirect_uris=None,
        response_types=["token"],
        token_endpoint_auth_method="private_key_jwt",
        userinfo_encrypted_response_enc="x",
    )

    assert [one.member for one in found] == [
        *("redirect_uris", "response_types", "token_endpoint_auth_method", "userinfo_encrypted_response_enc")
    ]


def test_every_rule_is_reached() -> None:
    """The table of this file leaves out no rule of coherence, and names only members that exist."""
    rules = {name.removeprefix("coherence.") for name in RULES if name.startswith("coherence.")}

    needs_a_document = {"sector_lacks"}
    assert rules == {case.values[0].partition(":")[0] for case in BROKEN} | needs_a_document
    assert {case.values[0].partition(":")[2].partition("[")[0] for case in BROKEN} <= set(MEMBERS)


SYMMETRIC_KEYS = [
    ("token_endpoint_auth_method", "client_secret_jwt"),
    ("id_token_signed_response_alg", "HS256"),
    ("userinfo_signed_response_alg", "HS384"),
    ("request_object_signing_alg", "HS512"),
    ("id_token_encrypted_response_alg", "dir"),
    ("userinfo_encrypted_response_alg", "A256KW"),
    ("request_object_encryption_alg", "dir"),
    ("introspection_encrypted_response_alg", "dir"),
]


@pytest.mark.requirement("R7591-55", "OIDC-25", "AUTHM-4", "META-32", "WILD-17")
@pytest.mark.parametrize(("name", "value"), SYMMETRIC_KEYS)
def test_symmetric_keys_need_a_secret(name: str, value: str) -> None:
    """Whatever is keyed by the client secret makes the server issue one, and able to read it."""
    members = {"token_endpoint_auth_method": "private_key_jwt", name: value}

    assert needs_secret(members)
    assert needs_symmetric_key(members)


@pytest.mark.requirement("R7591-6", "SEED-37", "AUTHM-5")
@pytest.mark.parametrize(
    ("method", "secret"),
    [
        *(("client_secret_basic", True), ("client_secret_post", True), ("none", False), ("private_key_jwt", False)),
        *(("tls_client_auth", False), ("self_signed_tls_client_auth", False)),
    ],
)
def test_methods_that_need_a_secret(method: str, secret: bool) -> None:
    """A secret is issued to those that use one; it need only be compared, never read."""
    members = {"token_endpoint_auth_method": method, "id_token_signed_response_alg": "RS256"}

    assert needs_secret(members) is secret
    assert not needs_symmetric_key(members)
