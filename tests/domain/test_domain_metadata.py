"""The table of client metadata, row by row, and the parser that reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_domain_jwks import EC, RSA

from registrar.domain import metadata, strict_json
from registrar.domain.findings import RULES, Finding, Verdict
from registrar.domain.metadata import LIMITS, MEMBERS, NOT_IN_PUT, Presented, Role
from registrar.domain.server_metadata import OFFERED

WRONG: dict[str, list[Any]] = {
    "string": [1, 0, 1.5, True, False, ["x"], {"x": 1}, {}],
    "array of strings": [
        "x",
        1,
        1.5,
        True,
        False,
        {"x": 1},
        {},
        [1],
        ["https://a.example", None],
        [["x"]],
        [True],
        [{}],
    ],
    "boolean": ["true", "false", 1, 0, 1.5, [True], {"x": True}, {}],
    "integer": ["1", True, False, 1.0, 1.5, [1], {"x": 1}, {}],
    "object": ["x", "{}", 1, 1.5, True, False, ["x"], [{}]],
}
WRONG["URL"] = WRONG["string"]
WRONG["array of URLs"] = WRONG["array of strings"]

TEXT_FAULTS = [
    ("x" * 2049, "metadata.length"),
    ("a\x00b", "metadata.characters"),
    ("a\nb", "metadata.characters"),
    ("a\x85b", "metadata.characters"),
    ("abc\u202egpj", "metadata.characters"),
    ("a\u2066b", "metadata.characters"),
    ("a\u200bb", "metadata.characters"),
    ("\ufeffa", "metadata.characters"),
    ("a\ud800", "metadata.characters"),
]
PAGE_FAULTS = [
    *((uri, "metadata.web_page") for uri in ("ftp://a.example", "javascript:alert(1)", "data:text/html,x", "x", "/x")),
    *((uri, "metadata.web_page") for uri in ("https:x", "https://", "https://a b.example", "https://u:p@a.example/")),
    *((uri, "metadata.web_page") for uri in ("https://é.example/", "https://a.example/%zz", "https://a..example")),
    *((uri, "metadata.web_page") for uri in ("https://a.example:0/", "https://a.example:x/", "https://127.1/")),
    *((uri, "metadata.web_page") for uri in ("https://[::1/", "com.example:/x")),
    ("https://a.example/" + "x" * 2048, "metadata.length"),
]
HTTPS_FAULTS = [
    *(
        (uri, "metadata.https")
        for uri in ("http://a.example/x", "http://127.0.0.1/x", "ftp://a.example", "x", "https://")
    ),
    *((uri, "metadata.https") for uri in ("https://u@a.example/", "https://a b/", "https://a.example/%", "data:,x")),
]
TEXTS = ["x", "Ünïcödé 名前 \U0001f600", "a'b\"c\\d", "x" * 2048]
PAGES = [
    "https://a.example",
    "https://a.example/x?y=1#z",
    "http://a.example/",
    "HTTPS://A.example:8443/x",
    "http://[::1]/",
]
HTTPS = ["https://a.example/jwks.json", "https://a.example:8443/?x", "https://192.0.2.1/"]
LANDING_FAULTS = [
    ("http://a.example/x", "redirect_uri.plain_http"),
    ("https://a.example/x#", "redirect_uri.fragment"),
    ("javascript:alert(1)", "redirect_uri.scheme"),
    ("/x", "redirect_uri.absolute"),
    ("https://u@a.example/", "redirect_uri.userinfo"),
]
LISTS = [["x"], ["x", "y"], ["Ü"], ["x"] * 20]
LIST_FAULTS = [(["x"] * 21, "metadata.items"), *(([text], rule) for text, rule in TEXT_FAULTS)]
BOOLEANS = [True, False]


def in_lists(faults: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Faulty values, each as the second item of an array."""
    return [(["https://ok.example/x", value], rule) for value, rule in faults]


ROWS: list[tuple[str, str, list[Any], list[tuple[Any, str]]]] = [
    ("META-1", "redirect_uris", [["https://a.example/cb"], ["a.b:/x", "http://[::1]"]], in_lists(LANDING_FAULTS)),
    ("META-2", "token_endpoint_auth_method", ["none", "x"], TEXT_FAULTS),
    ("META-3", "grant_types", LISTS, LIST_FAULTS),
    ("META-4", "response_types", LISTS, LIST_FAULTS),
    ("META-5", "client_name", TEXTS, TEXT_FAULTS),
    ("META-6", "client_uri", PAGES, PAGE_FAULTS),
    ("META-7", "logo_uri", PAGES, PAGE_FAULTS),
    (
        "META-8",
        "scope",
        ["openid", "a b", "!#[]~ x:y/z", " a  b "],
        [
            *((value, "metadata.scope") for value in ("é", 'a"b', "a\\b", " ", "a\u00a0b")),
            ("a\tb", "metadata.characters"),
            ("a " * 1025, "metadata.length"),
        ],
    ),
    ("META-9", "contacts", [["ops@a.example"], ["+44 1", "Ünï"]], LIST_FAULTS),
    ("META-10", "tos_uri", PAGES, PAGE_FAULTS),
    ("META-11", "policy_uri", PAGES, PAGE_FAULTS),
    ("META-12", "jwks_uri", HTTPS, HTTPS_FAULTS),
    (
        "META-13",
        "jwks",
        [{"keys": [RSA]}, {"keys": [EC, RSA]}],
        [({"keys": [{"kty": "oct"}]}, "jwks.symmetric"), ({}, "jwks.shape")],
    ),
    ("META-14", "software_id", TEXTS, TEXT_FAULTS),
    ("META-15", "software_version", TEXTS, TEXT_FAULTS),
    (
        "META-22",
        "application_type",
        ["web", "native"],
        [(value, "metadata.value") for value in ("Web", "desktop", " web")],
    ),
    ("META-23", "sector_identifier_uri", HTTPS, HTTPS_FAULTS),
    ("META-24", "subject_type", ["public", "pairwise"], TEXT_FAULTS),
    *(
        (row, name, ["x"], TEXT_FAULTS)
        for row, name in (
            ("META-25", "id_token_signed_response_alg"),
            ("META-26", "id_token_encrypted_response_alg"),
            ("META-27", "id_token_encrypted_response_enc"),
            ("META-28", "userinfo_signed_response_alg"),
            ("META-29", "userinfo_encrypted_response_alg"),
            ("META-30", "userinfo_encrypted_response_enc"),
            ("META-31", "request_object_signing_alg"),
            ("META-32", "request_object_encryption_alg"),
            ("META-33", "request_object_encryption_enc"),
            ("META-34", "token_endpoint_auth_signing_alg"),
            ("META-52", "introspection_signed_response_alg"),
            ("META-53", "introspection_encrypted_response_alg"),
            ("META-54", "introspection_encrypted_response_enc"),
        )
    ),
    ("META-35", "default_max_age", [0, 3600, 2**31 - 1], [(-1, "metadata.range"), (2**31, "metadata.range")]),
    ("META-36", "require_auth_time", BOOLEANS, []),
    ("META-37", "default_acr_values", LISTS, LIST_FAULTS),
    ("META-38", "initiate_login_uri", HTTPS, HTTPS_FAULTS),
    ("META-39", "request_uris", [HTTPS, ["https://a.example/x#GkurKxf5T0Y"]], in_lists(HTTPS_FAULTS)),
    ("META-44", "tls_client_certificate_bound_access_tokens", BOOLEANS, []),
    (
        "META-45",
        "tls_client_auth_subject_dn",
        ["CN=app,O=Example,C=GB", "CN=a\\,b+OU=c", "1.3.6.1.4.1.1=x"],
        [
            (value, "metadata.subject_dn")
            for value in ("app", "CN", "=x", "CN=a,", "C=GBR", "CN=" + "a" * 65, "XX=1", "CN=\\")
        ],
    ),
    (
        "META-46",
        "tls_client_auth_san_dns",
        ["app.example", "APP.example", "xn--bcher-kva.example"],
        [
            (value, "metadata.san")
            for value in ("*.example", "a b", "é.example", "192.0.2.1", "a.", "[::1]", "https://a.b")
        ],
    ),
    (
        "META-47",
        "tls_client_auth_san_uri",
        ["https://app.example/id", "urn:example:app", "spiffe://x/y"],
        [(value, "metadata.san") for value in ("app", "/app", "a b:c", "https://a/%zz", "é:x")],
    ),
    (
        "META-48",
        "tls_client_auth_san_ip",
        ["192.0.2.1", "2001:db8::1", "::"],
        [
            (value, "metadata.san")
            for value in ("2001:0db8::1", "2001:DB8::1", "192.0.2.01", "192.0.2", "[::1]", "app", "::1%lo")
        ],
    ),
    (
        "META-49",
        "tls_client_auth_san_email",
        ["ops@a.example", "o.p+s@A.example"],
        [(value, "metadata.san") for value in ("ops", "@a.example", "ops@", "o ps@a.example", "ops@a b", "ops@[::1")],
    ),
    ("META-50", "require_signed_request_object", BOOLEANS, []),
    ("META-51", "require_pushed_authorization_requests", BOOLEANS, []),
    ("META-55", "frontchannel_logout_uri", ["https://a.example/x", "http://localhost/x"], LANDING_FAULTS),
    ("META-56", "frontchannel_logout_session_required", BOOLEANS, []),
    (
        "META-57",
        "backchannel_logout_uri",
        ["https://a.example/x", "http://127.0.0.1:9/x"],
        [*LANDING_FAULTS, ("com.example:/x", "metadata.https")],
    ),
    ("META-58", "backchannel_logout_session_required", BOOLEANS, []),
    (
        "META-59",
        "post_logout_redirect_uris",
        [["https://a.example/x", "com.example:/x"]],
        [
            *in_lists(LANDING_FAULTS),
            (["https://a.example"] * 2, "redirect_uri.duplicate"),
            (["x"] * 21, "metadata.items"),
        ],
    ),
    ("META-60", "authorization_details_types", LISTS, LIST_FAULTS),
    ("META-61", "dpop_bound_access_tokens", BOOLEANS, []),
    ("META-64", "organization_name", TEXTS, TEXT_FAULTS),
    ("META-65", "description", TEXTS, TEXT_FAULTS),
    ("META-66", "keywords", LISTS, LIST_FAULTS),
    ("META-67", "information_uri", PAGES, PAGE_FAULTS),
    ("META-68", "organization_uri", PAGES, PAGE_FAULTS),
    ("META-69", "use_mtls_endpoint_aliases", BOOLEANS, []),
]
ISSUED = [
    ("META-16", "client_id"),
    ("META-17", "client_secret"),
    ("META-18", "client_id_issued_at"),
    ("META-19", "client_secret_expires_at"),
    ("META-20", "registration_access_token"),
    ("META-21", "registration_client_uri"),
]
NOT_SERVED = [
    ("META-40", "claims_redirect_uris"),
    ("META-41", "nfv_token_signed_response_alg"),
    ("META-42", "nfv_token_encrypted_response_alg"),
    ("META-43", "nfv_token_encrypted_response_enc"),
    ("META-62", "client_registration_types"),
    ("META-63", "signed_jwks_uri"),
    ("META-70", "encrypted_response_enc_values_supported"),
    ("META-71", "vp_formats_supported"),
    ("METAX-1", "software_statement"),
    ("METAX-2", "authorization_signed_response_alg"),
    ("METAX-2", "authorization_encrypted_response_alg"),
    ("METAX-2", "authorization_encrypted_response_enc"),
    ("METAX-3", "backchannel_token_delivery_mode"),
    ("METAX-4", "backchannel_client_notification_endpoint"),
    ("METAX-5", "backchannel_authentication_request_signing_alg"),
    ("METAX-6", "backchannel_user_code_parameter"),
    ("METAX-16", "webhook_uris"),
]
UNKNOWN = [
    *("zzz", "resource", "trusted", "Redirect_URIs", "Client_Name", "client_name ", "client-name", "_", "", "$", "é"),
    *("redirect_uris#fr", "scope#fr", "jwks_uri#fr", "client_id#fr", "zzz#fr", "#fr", "#"),
]


def marked(rows: list[Any]) -> list[Any]:
    """Rows as parameters that carry their requirement."""
    return [pytest.param(*row[1:], marks=pytest.mark.requirement(row[0]), id=f"{row[0]}-{row[1]}") for row in rows]


def parse(**members: Any) -> tuple[dict[str, Any], list[Finding]]:
    """What the parser makes of these members."""
    return metadata.parse(Presented(members))


def parsed(members: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The same for names that are no identifiers: the shape, and rule and member of each finding."""
    shaped, findings = metadata.parse(Presented(members))
    return shaped, [(one.rule, one.member) for one in findings]


@pytest.mark.requirement("R7591-2")
@pytest.mark.parametrize(("name", "good", "bad"), marked(ROWS))
def test_registrable(name: str, good: list[Any], bad: list[tuple[Any, str]]) -> None:
    """A member is kept as it was sent, or refused by the rule that says why; each other JSON type is refused by name."""
    for value in good:
        assert parse(**{name: value}) == ({name: value}, [])
    for value, rule in bad:
        shaped, findings = parse(**{name: value})
        assert shaped == {}, value
        assert {one.rule for one in findings} == {rule}, value
        assert all(one.member.partition("[")[0].partition(".")[0] == name for one in findings)
        assert all(one.verdict is Verdict.REFUSED for one in findings)
    for value in WRONG[MEMBERS[name].type]:
        shaped, findings = parse(**{name: value})
        assert shaped == {}, value
        assert findings, value
        assert all(one.rule in {"metadata.type", "redirect_uri.type", "jwks.shape"} for one in findings), value
        assert all(one.member.partition("[")[0] == name for one in findings), value


@pytest.mark.requirement("R7591-41", "R7591-44")
@pytest.mark.parametrize("name", marked(ISSUED))
def test_issued_by_the_server(name: str) -> None:
    """What the server issues has no effect when a client sends it, of whatever type, and is named."""
    for value in ("x", 1, True, ["x"], {"x": 1}):
        shaped, findings = parse(**{name: value})
        assert shaped == {}
        assert [(one.rule, one.member, one.verdict) for one in findings] == [
            ("metadata.server_only", name, Verdict.IGNORED)
        ]


@pytest.mark.requirement("R7591-45")
@pytest.mark.parametrize("name", marked(NOT_SERVED))
def test_features_that_are_not_served(name: str) -> None:
    """A member of something that is not served here is ignored, of whatever type, and named with that something."""
    for value in ("x", 1, True, ["x"], {"x": 1}):
        shaped, findings = parse(**{name: value})
        assert shaped == {}
        assert [(one.rule, one.member, one.verdict) for one in findings] == [
            ("metadata.feature", name, Verdict.IGNORED)
        ]
        assert MEMBERS[name].feature in findings[0].reason


@pytest.mark.requirement("METAX-7")
@pytest.mark.parametrize("name", ["introspection_endpoint_auth_method", "revocation_endpoint_auth_method"])
def test_derived(name: str) -> None:
    """What follows from other members may be repeated and changes nothing."""
    for value in ("x", 1, ["x"]):
        assert parse(**{name: value}) == ({}, [])


@pytest.mark.requirement(
    "R7591-1", "R7591-20", "OIDC-38", "WILD-8", "METAX-8", "METAX-10", "METAX-11", "METAX-12", "METAX-13", "METAX-9"
)
@pytest.mark.parametrize(
    "name",
    [
        *UNKNOWN,
        *(
            "response_modes",
            "native_sso_supported",
            "id_token_signing_alg_values_supported",
            "token_endpoint_auth_methods_supported",
            "signed_userinfo",
            "credential_offer_endpoint",
            "vp_formats",
            "audience",
        ),
    ],
)
def test_unknown(name: str) -> None:
    """What the table does not have is ignored and named, whatever its value; names are compared as they stand."""
    for value in ("x", 1, None, [], {"x": 1}):
        shaped, found = parsed({name: value, "client_name": "x"})
        assert shaped == {"client_name": "x"}
        assert found == [("metadata.unknown", name.replace("é", "?"))]


@pytest.mark.requirement("METAX-16")
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (["https://a.example/hooks", "https://b.example:8443/x/y"], None),
        ("https://a.example/hooks", "metadata.type"),
        (["http://a.example/hooks"], "metadata.webhook"),
        (["https://a.example/hooks/"], "metadata.webhook"),
        (["https://a.example/"], "metadata.webhook"),
        (["https://a.example/hooks?x=1"], "metadata.webhook"),
        (["https://a.example/hooks#x"], "metadata.webhook"),
        (["https://a.example/" + "x" * 250], "metadata.webhook"),
        (["hooks"], "metadata.webhook"),
    ],
)
def test_webhooks(value: Any, fault: str | None) -> None:
    """Where webhooks are served, they are https URLs that a path can be added to; whatever else has an error of its own."""
    shaped, findings = metadata.reader(frozenset({"webhooks"}))(Presented({"webhook_uris": value}))

    assert [(one.rule, one.error) for one in findings] == ([(fault, "invalid_webhook_uris")] if fault else [])
    assert shaped == ({} if fault else {"webhook_uris": value})


def test_the_rows_are_all_of_the_table() -> None:
    """The tests above cover each row of the table, and each id of the registry once."""
    tested = {row[1] for row in [*ROWS, *ISSUED, *NOT_SERVED]}
    derived = {name for name, row in MEMBERS.items() if row.role is Role.DERIVED}

    assert tested | derived == set(MEMBERS)
    ids = [row[0] for row in [*ROWS, *ISSUED, *NOT_SERVED] if row[0].startswith("META-")]
    assert sorted(ids, key=lambda name: int(name[5:])) == [f"META-{at}" for at in range(1, 72)]


def test_the_table_is_whole() -> None:
    """Each row has its facts: a source, a meaning, a known type, and an offered list that exists."""
    issued = {name for _, name in ISSUED}
    for name, row in MEMBERS.items():
        assert row.name == name
        assert row.source
        assert row.meaning.endswith(".")
        assert row.type in WRONG
        assert not row.offered or row.offered in OFFERED
        assert (row.role is Role.SERVER) is (name in issued)
    assert set(NOT_IN_PUT) == issued - {"client_id", "client_secret"}


@pytest.mark.requirement("R7592-13", "WILD-3")
@pytest.mark.parametrize("nothing", [None, "", []])
def test_omitted(nothing: Any) -> None:
    """null, an empty string and an empty array mean that a member was not given, whatever its row; so for languages."""
    everything = dict.fromkeys([*MEMBERS, "client_name#fr"], nothing)

    assert parse(**everything) == ({}, [])


@pytest.mark.requirement("WILD-3")
def test_falsehood_is_not_omission() -> None:
    """False and zero are values."""
    assert parse(require_auth_time=False, default_max_age=0) == ({"require_auth_time": False, "default_max_age": 0}, [])


# --- languages ----------------------------------------------------------------------------------------------------------

LOCALISED = ["client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri"]


@pytest.mark.requirement("R7591-25", "OIDC-34")
@pytest.mark.parametrize(
    "name", [*LOCALISED, "organization_name", "description", "information_uri", "organization_uri"]
)
@pytest.mark.parametrize(
    "tag", ["fr", "fr-CA", "ja-Jpan-JP", "zh-Hans", "de-1996", "x-private", "sl-rozaj-biske", "EN-us"]
)
def test_languages(name: str, tag: str) -> None:
    """What people read may be given in languages; each value is kept under the name that was sent."""
    value = "https://a.example/x" if MEMBERS[name].type == "URL" else "クライアント名"

    assert parsed({f"{name}#{tag}": value, name: value}) == ({f"{name}#{tag}": value, name: value}, [])


def test_only_what_people_read_has_languages() -> None:
    """No other row may be localised."""
    expected = {*LOCALISED, "organization_name", "description", "information_uri", "organization_uri"}

    assert {name for name, row in MEMBERS.items() if row.localised} == expected


@pytest.mark.requirement("META-6", "META-7", "META-10", "META-11", "R7591-13")
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("logo_uri#fr", "javascript:alert(1)", "metadata.web_page"),
        ("tos_uri#fr", 1, "metadata.type"),
        ("client_name#fr", "a\u202eb", "metadata.characters"),
        ("client_name#fr", ["x"], "metadata.type"),
    ],
)
def test_a_language_changes_no_check(name: str, value: Any, rule: str) -> None:
    """A value with a language passes the same checks as one without."""
    assert parsed({name: value}) == ({}, [(rule, name)])


@pytest.mark.requirement("R7591-26")
def test_language_twice() -> None:
    """Tags are compared without regard to case."""
    shaped, found = parsed(
        {"client_name#ja-Jpan-JP": "a", "client_name#JA-jpan-jp": "b", "client_uri#ja-jpan-jp": "http://a"}
    )

    assert found == [("metadata.language_twice", "client_name#JA-jpan-jp")]
    assert shaped == {"client_name#ja-Jpan-JP": "a", "client_uri#ja-jpan-jp": "http://a"}
    assert parse(**{"client_name#fr": "a", "client_name#FR": ""}) == ({"client_name#fr": "a"}, [])


@pytest.mark.requirement("R7591-27")
@pytest.mark.parametrize(
    "tag", ["", "f", "1a", "fr_CA", "fr-", "-fr", "fr--CA", "fr-toolongsubtag", "é", "fr CA", "#", "fr" + "-abc" * 16]
)
def test_malformed_tags(tag: str) -> None:
    """What is no language tag makes the member one without effect."""
    shaped, found = parsed({f"client_name#{tag}": "x"})

    assert shaped == {}
    assert [rule for rule, _ in found] == ["metadata.language_tag"]


def test_number_of_languages() -> None:
    """A hundred members with a language are read; more are refused in one finding, however many they are."""
    many = {f"client_name#en-{at:05}": "x" for at in range(5000)}
    some = dict(list(many.items())[: LIMITS.localised])

    assert parsed(some) == (some, [])
    assert [rule for rule, _ in parsed(many)[1]] == ["metadata.languages"]


# --- what a refusal may repeat, and how much ------------------------------------------------------------------------------


def test_unknown_members_are_counted() -> None:
    """Fifty unknown members are named; the others are ignored without a word, and hide no fault."""
    many: dict[str, Any] = {f"x{at}": at for at in range(500)} | {f"client_name#{at}": "x" for at in range(500)}
    shaped, findings = metadata.parse(Presented({**many, "client_uri": "ftp:x", "client_name": "x"}))

    assert shaped == {"client_name": "x"}
    assert len(findings) == 51
    assert findings[-1].rule == "metadata.web_page"


def test_every_fault_at_once() -> None:
    """All faults of shape are told together, in the order in which the members were sent."""
    _, findings = parse(scope=["a"], contacts="a@b", redirect_uris="https://x", default_max_age=-1, logo_uri="data:,")

    assert [one.member for one in findings] == ["scope", "contacts", "redirect_uris", "default_max_age", "logo_uri"]


@pytest.mark.requirement("R7591-2")
@pytest.mark.parametrize(
    ("value", "said"),
    [(1, "a number"), (1.5, "a number"), (True, "a boolean"), (["x"], "an array"), ({"x": 1}, "an object")],
)
def test_the_given_type_is_named(value: Any, said: str) -> None:
    """A wrong type is told as JSON calls it; booleans are not numbers."""
    assert parse(client_name=value)[1][0].reason == f"is {said} where a string is needed"


def test_null_inside_an_array() -> None:
    """Null is named as null."""
    assert "is null where" in parse(redirect_uris=["https://a.example", None])[1][0].reason


def test_every_rule_is_reached() -> None:
    """The tests of this file leave out no rule of shape."""
    reached = {rule for row in ROWS for _, rule in row[3] if rule.startswith("metadata.")}
    elsewhere = {"webhook", "type", "language_twice", "language_tag", "languages", "unknown", "feature", "server_only"}

    assert {name for name in RULES if name.startswith("metadata.")} == reached | {
        f"metadata.{name}" for name in elsewhere
    }


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=6,
)
_names = st.one_of(
    st.sampled_from(sorted(MEMBERS)),
    st.sampled_from(UNKNOWN),
    st.text(),
    st.sampled_from(LOCALISED).map(lambda name: f"{name}#fr"),
)


@given(st.dictionaries(_names, _json))
def test_the_parser_is_total(members: dict[str, Any]) -> None:
    """Any JSON object is read: each member is kept unchanged, refused, ignored with a finding, or was omitted."""
    shaped, findings = metadata.parse(Presented(members))
    said = {one.member.partition("[")[0].partition(".")[0] for one in findings}

    for name, value in shaped.items():
        assert value is members[name]
        row = MEMBERS.get(name.partition("#")[0])
        assert row is not None
        assert row.role is Role.CLIENT
        assert not row.feature
        assert value not in (None, "", [])
        assert name not in said
    assert all(one.verdict in {Verdict.REFUSED, Verdict.IGNORED} for one in findings)
    for one in findings:
        assert (one.member + one.reason + one.accepted).isascii()
        assert (one.reason + one.accepted).isprintable()
    silent = set(members) - set(shaped) - said
    for name in silent:
        odd = not name.isascii() or len(name) > 80 or any(mark in name for mark in '[].\\"') or not name.isprintable()
        row = MEMBERS.get(name.partition("#")[0])
        assert odd or members[name] in (None, "", []) or (row and row.role is Role.DERIVED)


# --- requests that are read in one step ---------------------------------------------------------------------------------

PLAIN = {
    "redirect_uris": ["http://127.0.0.1:33418/", "https://a.example/cb"],
    "client_name": "A client",
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code"],
    "require_auth_time": False,
    "scope": "a b",
}


def slowly(body: bytes) -> tuple[dict[str, Any], list[Finding]]:
    """What is made of a body member by member."""
    return metadata.parse(Presented(strict_json.read_object(body)))


def test_a_plain_request_is_read_in_one_step() -> None:
    """As most are: the outcome is that of reading it member by member, whatever stands between the members."""
    for body in (json.dumps(PLAIN), json.dumps(PLAIN, indent=4), json.dumps(PLAIN, separators=(",", ":")), "{}"):
        plain = metadata.read_plain(body.encode())
        assert plain is not None, body
        assert metadata.parse(Presented(plain)) == metadata.reader(frozenset({"webhooks"}))(Presented(plain))
        assert metadata.parse(Presented(plain)) == slowly(body.encode()) == (dict(plain), [])


@pytest.mark.requirement("R7591-2")
@pytest.mark.parametrize(("name", "good", "bad"), marked(ROWS))
def test_no_fault_is_read_in_one_step(name: str, good: list[Any], bad: list[tuple[Any, str]]) -> None:
    """What the one step lets pass has no fault that the table has a word for, in either spelling of JSON."""
    for value in (*(value for value, _ in bad), *WRONG[MEMBERS[name].type], None, "", []):
        for ascii_only in (True, False):
            body = json.dumps({**PLAIN, name: value}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
            assert metadata.read_plain(body) is None, body
    for value in good:
        body = json.dumps({**PLAIN, name: value}, ensure_ascii=False).encode()
        plain = metadata.read_plain(body)
        assert plain is None or (dict(plain), []) == slowly(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"scope":"a","scope":"a"}',
        b'{"require_auth_time":true,"require_auth_time":true}',
        b'{"require_auth_time":true,"require_auth_time" :true}',
        b'{"scope":"a","x":1}',
        b'{"scope":"a","x":{"scope":"b"}}',
        b'{"x":[]}',
        b'{"":""}',
        b'{"scope":"a","client_id":"b"}',
        b'{"scope":"a","client_name#fr":"b"}',
        b'{"scope":"a\\u0062"}',
        b'{"client_name":"a\tb"}',
        b'{"client_name":"a\x00b"}',
        b'{"client_name":"a\x7fb"}',
        b'{"client_name":"\xc3\xa9"}',
        b'{"client_name":"\xff"}',
        b'\xef\xbb\xbf{"scope":"a"}',
        b'{"scope":"a"}{}',
        b'{"scope":"a"}"',
        b'{"scope":"a"',
        b'["scope"]',
        b'{"x":' * 9_000,
        b'{"x":' + b"[" * 9_000,
        b'"scope"',
        b"null",
        b"",
    ],
)
def test_what_is_not_plain(body: bytes) -> None:
    """Members that stand twice, that are unknown, or that are text beyond printable ASCII are read the long way."""
    assert metadata.read_plain(body) is None


_spaces = st.sampled_from(["", "", "", " ", "\n", "\t ", "\x0b"])
_plain_names = st.one_of(st.sampled_from(sorted(MEMBERS)), st.sampled_from(sorted(PLAIN)), _names)
_plain_values = st.one_of(
    st.sampled_from([value for _, name, good, _ in ROWS for value in good]),
    st.sampled_from([value for _, name, _, bad in ROWS for value, _ in bad]),
    st.text(alphabet='a"\\,:{}[]\x01\x7fé ', max_size=6),
    _json,
)


@given(
    st.lists(st.tuples(_spaces, _plain_names, _spaces, _plain_values, st.booleans()), max_size=5),
    st.sampled_from(["{%s}", "{%s} ", "{%s,}", "[%s]", "{%s", "{%s}}", '{%s}"']),
)
def test_both_readings_agree(members: list[tuple[str, str, str, Any, bool]], frame: str) -> None:
    """Whatever is sent: what is read in one step is read member by member with the same outcome, and without a fault."""
    said = ",".join(
        f"{before}{json.dumps(name, ensure_ascii=escaped)}{after}:{json.dumps(value, ensure_ascii=escaped)}"
        for before, name, after, value, escaped in members
    )
    body = (frame % said).encode("utf-8", "surrogatepass")

    plain = metadata.read_plain(body)

    assert plain is None or (dict(plain), []) == slowly(body)
