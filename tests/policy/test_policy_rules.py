"""The rules that a policy may name: for each what it refuses, changes or remarks on, and what it lets be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import jwks
from registrar.domain.client import Assurance
from registrar.domain.findings import RULES, Finding, Rule, Verdict
from registrar.domain.metadata import Presented
from registrar.domain.redirect_uri import DENIED_SCHEMES
from registrar.domain.server_metadata import OFFERED, Offered
from registrar.domain.software_statement import Attestation
from registrar.policy import Decision, Facts, Judge
from registrar.policy.document import ConfigurationError, Document
from registrar.policy.evidence import UNSEEN
from registrar.policy.judge import WideningError
from registrar.policy.loader import Written, load_all
from registrar.policy.rules import RULE_FUNCTIONS, addresses, capabilities, identity, members, origin
from registrar.policy.rules.addresses import DenyList, deny_lists
from registrar.policy.rules.applied import Hosts, Networks

SCOPES = Offered({**OFFERED, "scopes_supported": ("openid", "read", "write")})
HTTPS = "https://a.example/cb"
CODE: dict[str, Any] = {"redirect_uris": [HTTPS]}
PUBLIC: dict[str, Any] = {**CODE, "token_endpoint_auth_method": "none"}
BOTH = ["authorization_code", "refresh_token"]
EC: dict[str, Any] = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
OKP: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
RSA: dict[str, Any] = {"kty": "RSA", "n": "v" + "A" * 339 + "AQ", "e": "AQAB"}
OPEN = Facts(Assurance.OPEN)


def judged(rules: str, members: Mapping[str, Any], facts: Facts = OPEN, **functions: Any) -> Decision:
    """The decision about members under a policy of these rules alone."""
    document = Document("rules", f"rules = [{rules}]")
    known = {**RULE_FUNCTIONS, **functions}
    policy = load_all({"rules": Written(document.data, document)}, {}, known)["rules"]
    bound = Judge(policy, SCOPES)
    shaped, found = bound.read(Presented(dict(members)))
    assert not [one for one in found if one.verdict is Verdict.REFUSED]
    return bound(shaped, facts, found)


def of_rules(decision: Decision) -> list[Finding]:
    """The findings of the rules."""
    return [one for one in decision.findings if one.rule.startswith("rule.")]


def statement(name: str, software: str = "s-1") -> Facts:
    """The facts of a registration with a statement."""
    made = Attestation(name, f"https://{name}.example", "compact", "digest", {}, {}, {}, software)
    return Facts(Assurance.STATEMENT, statement=made)


# rule -> cases: (requirements, the rule as it is written, what it refuses or warns about, members, facts)
UPDATE = msgspec.structs.replace(OPEN, before={"token_endpoint_auth_method": "none", "application_type": "native"})
TOKEN = Facts(Assurance.OPERATOR, token_id="t1")
CASES: list[tuple[str, str, str, list[str], dict[str, Any], Facts]] = [
    # where redirect URIs lead
    ("SEED-68", "same_host", "members = ['logo_uri']", ["logo_uri"], {**CODE, "logo_uri": "https://b.example/l"}, OPEN),
    ("SEED-68", "same_host", "members = ['logo_uri']", [], {**CODE, "logo_uri": "https://A.example/l"}, OPEN),
    ("", "same_host", "members = ['logo_uri']", [], {"redirect_uris": ["com.example:/cb"], "logo_uri": "https://b.example/l"}, OPEN),
    ("", "one_host", "", ["redirect_uris[1]"], {"redirect_uris": [HTTPS, "https://b.example/cb"]}, OPEN),
    ("", "one_host", "", [], {"redirect_uris": [HTTPS, "https://A.example:8443/cb", "com.example:/cb", "http://127.0.0.1/"]}, OPEN),
    ("", "localhost", "verdict = 'refuse'", ["redirect_uris[0]"], {"redirect_uris": ["http://localhost:1/cb", "http://127.0.0.1/cb"]}, OPEN),
    ("SEED-68", "redirect_hosts", "allowed = ['b.example', '*.example']", ["redirect_uris[1]"], {"redirect_uris": [HTTPS, "https://example/cb"]}, OPEN),
    ("", "redirect_hosts", "allowed = ['*.example.com']", ["redirect_uris[0]"], {"redirect_uris": ["https://evilexample.com/cb"]}, OPEN),
    ("", "redirect_hosts", "allowed = ['*.example.com']", ["redirect_uris[0]"], {"redirect_uris": ["https://a.example.com.evil.org/cb"]}, OPEN),
    ("", "redirect_hosts", "allowed = ['*.example.com']", [], {"redirect_uris": ["https://A.b.EXAMPLE.com:1/", "http://127.0.0.1/"]}, OPEN),
    ("SEED-68", "denied_hosts", "", ["redirect_uris[0]", "redirect_uris[1]"], {"redirect_uris": ["https://t.co/x", "https://me.github.io/cb", HTTPS]}, OPEN),
    ("", "denied_hosts", "lists = ['open_redirectors']", [], {"redirect_uris": ["https://me.github.io/cb"]}, OPEN),
    ("", "denied_hosts", "exceptions = ['me.github.io']", ["redirect_uris[1]"], {"redirect_uris": ["https://me.github.io/cb", "https://you.github.io/cb"]}, OPEN),
    ("", "denied_hosts", "hosts = ['*.example']", ["redirect_uris[0]"], CODE, OPEN),
    ("", "redirect_kinds", "allowed = ['https']", ["redirect_uris[1]", "redirect_uris[2]"], {"redirect_uris": [HTTPS, "http://[::1]/", "com.example:/cb"]}, OPEN),
    ("", "redirect_kinds", "allowed = ['https', 'loopback', 'private_use']", [], {"redirect_uris": [HTTPS, "http://[::1]/", "a.b:/cb"]}, OPEN),
    ("BASE-9", "private_use_schemes", "", ["redirect_uris[0]"], {"redirect_uris": ["cursor://x/cb", "com.example.app:/cb", HTTPS]}, OPEN),
    ("BASE-9", "private_use_schemes", "exceptions = ['cursor', 'vscode']", ["redirect_uris[2]"], {"redirect_uris": ["cursor://x/cb", "VSCODE://y/cb", "vscodium://z/cb"]}, OPEN),
    ("", "private_use_schemes", "", ["redirect_uris[0]"], {"redirect_uris": ["app.:/cb"]}, OPEN),
    ("BASE-9", "private_use_schemes", "", [], {"redirect_uris": ["com.example.app:/cb", HTTPS, "http://127.0.0.1/"]}, OPEN),
    ("", "application_type", "", [], CODE, OPEN),
    ("", "localhost", "verdict = 'refuse'", [], {"redirect_uris": ["http://[::1]/", "https://localhost.example/"]}, OPEN),
    ("", "email_contacts", "", [], CODE, OPEN),
    ("OIDC-8", "application_type", "", ["redirect_uris[1]", "redirect_uris[2]"], {"redirect_uris": [HTTPS, "http://localhost/", "a.b:/cb"]}, OPEN),
    ("OIDC-6", "application_type", "", ["redirect_uris[0]"], {"redirect_uris": ["https://localhost/", "http://localhost/", "a.b:/cb", HTTPS], "application_type": "native"}, OPEN),
    # what members look like
    ("", "matches", "members = ['client_name'], pattern = '[a-z]+'", ["client_name#fr"], {**CODE, "client_name": "abc", "client_name#fr": "Abc"}, OPEN),
    ("", "matches", "members = ['contacts'], pattern = '[a-z]+'", ["contacts"], {**CODE, "contacts": ["a", "b1", "c2"]}, OPEN),
    ("", "matches", "members = ['software_id'], pattern = '[a-z]+'", [], CODE, OPEN),
    ("", "maximum", "members = ['redirect_uris', 'scope'], items = 1", ["redirect_uris", "scope"], {"redirect_uris": [HTTPS, "a.b:/"], "scope": "read write"}, OPEN),
    ("", "maximum", "members = ['redirect_uris', 'scope'], items = 2", [], {"redirect_uris": [HTTPS, "a.b:/"], "scope": "read write"}, OPEN),
    ("OIDC-9", "email_contacts", "", ["contacts[1]", "contacts[3]"], {**CODE, "contacts": ["a@b.example", "Bob", "mailto:c@d.example", "@e.example"]}, OPEN),
    ("OIDC-15", "prefer_jwks_uri", "verdict = 'refuse'", ["jwks"], {**CODE, "jwks": {"keys": [EC]}}, OPEN),
    ("OIDC-15", "prefer_jwks_uri", "verdict = 'refuse'", [], {**CODE, "jwks": {"keys": [EC]}, "application_type": "native"}, OPEN),
    ("OIDC-15", "prefer_jwks_uri", "verdict = 'refuse'", [], {**CODE, "jwks_uri": "https://a.example/jwks"}, OPEN),
    ("", "keys", "", [], {**CODE, "jwks": {"keys": [EC, OKP, RSA]}}, OPEN),
    ("", "keys", "types = ['EC']", ["jwks.keys[1]", "jwks.keys[2]"], {**CODE, "jwks": {"keys": [EC, OKP, RSA]}}, OPEN),
    ("", "keys", "rsa_bits = 3072, ec_bits = 384", ["jwks.keys[0]", "jwks.keys[1]", "jwks.keys[2]"], {**CODE, "jwks": {"keys": [EC, OKP, RSA]}}, OPEN),
    ("", "keys", "algorithms = ['PS256', 'ES256']", ["jwks.keys[1]"], {**CODE, "jwks": {"keys": [{**EC, "alg": "ES256"}, {**RSA, "alg": "RS256"}, OKP]}}, OPEN),
    ("", "keys", "", ["jwks_uri.keys[0]", "jwks_uri.keys[2]"], {**CODE, "jwks_uri": "https://a.example/j"}, msgspec.structs.replace(OPEN, documents={"jwks_uri": {"keys": [{"kty": "RSA", "n": "AQAB"}, 7, {"kty": "EC"}]}})),
    ("R7591-18", "published_keys", "", ["jwks_uri"], {**CODE, "jwks_uri": "https://a.example/j"}, OPEN),
    ("R7591-18", "published_keys", "", ["jwks_uri"], {**CODE, "jwks_uri": "https://a.example/j"}, msgspec.structs.replace(OPEN, documents={"jwks_uri": {"keys": [{"kty": "oct", "k": "AA"}]}})),
    ("R7591-18", "published_keys", "", ["jwks_uri"], {**CODE, "jwks_uri": "https://a.example/j"}, msgspec.structs.replace(OPEN, documents={"jwks_uri": [1]})),
    ("R7591-18", "published_keys", "", [], {**CODE, "jwks_uri": "https://a.example/j"}, msgspec.structs.replace(OPEN, documents={"jwks_uri": {"keys": [EC]}})),
    ("", "published_keys", "", [], {**CODE, "jwks_uri": "https://a.example/j"}, msgspec.structs.replace(OPEN, documents={"jwks_uri": UNSEEN})),
    # which grants go together
    ("SEED-5", "refresh_requires_confidential", "verdict = 'refuse'", ["grant_types"], {**PUBLIC, "grant_types": BOTH}, OPEN),
    ("SEED-5", "refresh_requires_confidential", "verdict = 'refuse'", [], {**CODE, "grant_types": BOTH}, OPEN),
    ("SEED-5", "refresh_requires_confidential", "verdict = 'refuse'", [], PUBLIC, OPEN),
    ("R7591-63", "separate_grants", "", ["grant_types"], {**CODE, "grant_types": ["authorization_code", "client_credentials"]}, OPEN),
    ("R7591-63", "separate_grants", "grants = ['authorization_code', 'implicit']", [], {**CODE, "grant_types": ["authorization_code", "client_credentials"]}, OPEN),
    ("R7591-63", "separate_grants", "", [], {**CODE, "grant_types": BOTH}, OPEN),
    ("BASE-20", "same_client_type", "", ["token_endpoint_auth_method", "application_type"], CODE, UPDATE),
    ("BASE-20", "same_client_type", "", [], {**PUBLIC, "application_type": "native"}, UPDATE),
    ("BASE-20", "same_client_type", "", [], CODE, OPEN),
    ("SEED-17", "ceiling", "below = 'user', grants = ['authorization_code'], verdict = 'refuse'", ["grant_types"], {**CODE, "grant_types": BOTH}, OPEN),
    ("SEED-17", "ceiling", "below = 'user', grants = ['client_credentials']", ["grant_types"], CODE, Facts(Assurance.CLIENT)),
    ("SEED-17", "ceiling", "below = 'user', methods = ['private_key_jwt']", ["token_endpoint_auth_method"], CODE, OPEN),
    ("SEED-17", "ceiling", "below = 'user', methods = ['private_key_jwt'], scopes = ['read'], grants = ['implicit']", [], {**CODE, "scope": "write"}, Facts(Assurance.USER)),
    # where it comes from
    ("SEED-90", "statement_from", "issuers = ['directory']", ["software_statement"], CODE, OPEN),
    ("SEED-90", "statement_from", "issuers = ['directory']", ["software_statement"], CODE, statement("portal")),
    ("SEED-90", "statement_from", "issuers = ['portal', 'directory']", [], CODE, statement("portal")),
    ("SEED-18", "token_bound", "", ["authorization"], CODE, TOKEN),
    ("SEED-18", "token_bound", "to = ['certificate']", ["authorization"], CODE, msgspec.structs.replace(TOKEN, token_bound=("address",))),
    ("SEED-18", "token_bound", "to = ['certificate', 'address']", [], CODE, msgspec.structs.replace(TOKEN, token_bound=("address",))),
    ("", "token_bound", "", [], CODE, OPEN),
    ("", "token_bound", "", [], CODE, msgspec.structs.replace(TOKEN, before={})),
    ("SEED-18", "attested", "", ["attestation"], CODE, OPEN),
    ("SEED-18", "attested", "", [], CODE, msgspec.structs.replace(OPEN, attested=True)),
    ("R7591-68", "single_instance", "", ["software_id"], {**CODE, "software_id": "s"}, msgspec.structs.replace(OPEN, registered=True)),
    ("R7591-68", "single_instance", "software = ['other']", [], {**CODE, "software_id": "s"}, msgspec.structs.replace(OPEN, registered=True)),
    ("R7591-68", "single_instance", "", [], {**CODE, "software_id": "s"}, OPEN),
    # who it says that it is
    ("R7591-64", "lookalike", "", ["client_name"], {**CODE, "client_name": "Сlаude Code"}, OPEN),
    ("R7591-64", "lookalike", "", ["client_name#fr"], {**CODE, "client_name": "A", "client_name#fr": "Chat GPT ＰaуＰal"}, OPEN),
    ("", "lookalike", "", ["client_name"], {"redirect_uris": ["http://127.0.0.1/"], "client_name": "PayPaI"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "C l a u d e"}, OPEN),
    ("", "lookalike", "brands = ['Acme=acme.example']", ["client_name"], {**CODE, "client_name": "Αcme"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "C.l-a_u d e"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "Cl\u00adaude"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "Cl\u034faude"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "Cl\u3164aude"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "Clɑude"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "Gøøgle"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "ɢithub"}, OPEN),
    ("", "lookalike", "", ["client_name"], {**CODE, "client_name": "Git-HυbDesktop"}, OPEN),
    ("", "lookalike", "", [], {**CODE, "client_name": "Claude \u2764\ufe0f"}, OPEN),
    ("", "lookalike", "", [], {**CODE, "client_name": "Söndag på Øya: røgle"}, OPEN),
    ("", "lookalike", "", [], {**CODE, "client_name": "Claude Code", "client_name#ru": "Клод"}, OPEN),
    ("", "lookalike", "", [], {**CODE, "client_name": "Мой почтовый клиент"}, OPEN),
    ("", "mixed_scripts", "verdict = 'refuse'", ["client_name"], {**CODE, "client_name": "Mу app"}, OPEN),
    ("", "mixed_scripts", "verdict = 'refuse'", [], {**CODE, "client_name": "Яндекс Mail", "client_name#ja": "Claudeの友"}, OPEN),
    ("R7591-64", "brands", "verdict = 'refuse'", ["client_name"], {**CODE, "client_name": "Claude (Official)"}, OPEN),
    ("", "brands", "verdict = 'refuse', brands = ['Acme=acme.example,*.acme.example']", ["client_name"], {**CODE, "client_name": "ACME sync"}, OPEN),
    ("", "brands", "verdict = 'refuse'", ["logo_uri"], {**CODE, "client_name": "A", "logo_uri": "https://claude.ai/logo.png"}, OPEN),
    ("", "brands", "verdict = 'refuse'", [], {"redirect_uris": ["https://claude.ai/cb", "http://localhost/"], "client_name": "Claude"}, OPEN),
    ("", "brands", "verdict = 'refuse'", [], {"redirect_uris": ["https://vscode.dev/redirect"], "client_name": "GitHub Copilot"}, OPEN),
    ("", "brands", "verdict = 'refuse'", [], {"redirect_uris": ["http://localhost/", "cursor://x/cb"], "client_name": "Claude Code"}, OPEN),
    ("", "brands", "verdict = 'refuse'", ["client_name"], {**CODE, "client_name": "GitHubDesktop"}, OPEN),
    ("", "brands", "verdict = 'refuse'", ["client_name"], {**CODE, "client_name": "Open AI"}, OPEN),
    ("", "brands", "verdict = 'refuse'", ["client_name"], {**CODE, "client_name": "LeChat"}, OPEN),
    ("", "brands", "verdict = 'refuse'", ["client_name"], {**CODE, "client_name": "Google2"}, OPEN),
    ("", "brands", "verdict = 'refuse'", [], {**CODE, "client_name": "Googlewhack, Agitation Hubcap"}, OPEN),
    ("", "brands", "verdict = 'refuse'", ["logo_uri"], {"redirect_uris": ["https://claude.ai/cb", "https://a.example/cb"], "client_name": "A", "logo_uri": "https://claude.ai/logo.png"}, OPEN),
    ("", "brands", "verdict = 'refuse', exceptions = ['a.example']", [], {**CODE, "client_name": "Claude"}, OPEN),
    ("", "brands", "verdict = 'refuse'", [], {**CODE, "client_name": "Apple Pie Recipes, and Claudette"}, OPEN),
    ("R7591-64", "software_hosts", "verdict = 'refuse'", ["software_id"], {**CODE, "software_id": "s"}, msgspec.structs.replace(OPEN, software_hosts=("b.example",))),
    ("", "software_hosts", "verdict = 'refuse'", ["software_id"], {**CODE, "software_id": "s"}, msgspec.structs.replace(OPEN, software_hosts=())),
    ("", "software_hosts", "verdict = 'refuse'", [], {**CODE, "software_id": "s"}, msgspec.structs.replace(OPEN, software_hosts=("b.example", "a.example"))),
    ("", "software_hosts", "verdict = 'refuse'", ["software_id"], {"redirect_uris": ["https://a.example/cb", "https://b.example/cb"], "software_id": "s"}, msgspec.structs.replace(OPEN, software_hosts=("b.example",))),
    ("", "software_hosts", "verdict = 'refuse'", [], {"redirect_uris": ["http://127.0.0.1/"], "software_id": "s"}, msgspec.structs.replace(OPEN, software_hosts=("b.example",))),
    ("", "software_hosts", "verdict = 'refuse'", [], {**CODE, "software_id": "s"}, OPEN),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "about", "members", "facts"),
    [
        pytest.param(*rest, marks=pytest.mark.requirement(*ids.split()) if ids else (), id=f"{rest[0]} {at}")
        for at, (ids, *rest) in enumerate(CASES)
    ],
)
def test_rules(name: str, arguments: str, about: list[str], members: dict[str, Any], facts: Facts) -> None:
    """A rule refuses the members that break it, in full words that say what would do, and lets the others be."""
    written = f"{{ rule = '{name}', {arguments} }}" if arguments else f"{{ rule = '{name}' }}"
    found = of_rules(judged(written, members, facts))

    assert [one.member for one in found] == about
    for one in found:
        assert one.verdict is Verdict.REFUSED
        assert one.accepted
        assert "{" not in one.reason


def test_every_rule_has_a_case_that_it_breaks_and_one_that_it_does_not() -> None:
    """No rule is left out above, but for those of ecosystems, which their profiles hold; nor any text of one."""
    own = {name for name, one in RULE_FUNCTIONS.items() if not one.__module__.endswith(".ecosystems")}
    reached = {one.rule for case in CASES for one in of_rules(judged(_written(case), case[4], case[5]))}
    modules = (addresses, capabilities, identity, members, origin)
    texts = {one.name for module in modules for one in vars(module).values() if isinstance(one, Rule)}

    assert {case[1] for case in CASES if case[3]} == own
    assert {case[1] for case in CASES if not case[3]} == own
    assert reached | {"rule.ceiling"} == texts


def _written(case: tuple[str, str, str, list[str], dict[str, Any], Facts]) -> str:
    return f"{{ rule = '{case[1]}'{', ' if case[2] else ''}{case[2]} }}"


@pytest.mark.parametrize(
    "name",
    sorted({case[1] for case in CASES if "verdict" in (RULE_FUNCTIONS[case[1]].__kwdefaults__ or {})}),
)
def test_a_rule_may_only_warn(name: str) -> None:
    """Where a rule takes a verdict, what it would refuse it can remark on instead, and the client is registered."""
    _, _, arguments, _, members, facts = next(case for case in CASES if case[1] == name and case[3])
    verdict = "drop" if RULE_FUNCTIONS[name].__kwdefaults__["verdict"] == "drop" else "warn"
    plain = ", ".join(part for part in arguments.split(", ") if not part.startswith("verdict"))
    found = of_rules(
        judged(f"{{ rule = '{name}', {plain + ', ' if plain else ''}verdict = '{verdict}' }}", members, facts)
    )

    assert found
    assert {one.verdict for one in found} == {Verdict.CHANGED if verdict == "drop" else Verdict.WARNED}


# --- what rules take away ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-5")
def test_refresh_tokens_are_dropped_from_clients_without_a_secret() -> None:
    """By default the grant is taken away with a finding, and the rest is registered."""
    decision = judged("{ rule = 'refresh_requires_confidential' }", {**PUBLIC, "grant_types": BOTH})

    assert not decision.refused
    assert decision.metadata["grant_types"] == ["authorization_code"]
    (found,) = of_rules(decision)
    assert (found.before, found.after) == (BOTH, ["authorization_code"])
    assert decision.provenance["grant_types"] == "policy"


@pytest.mark.requirement("SEED-17")
def test_ceilings_drop_what_is_above_them() -> None:
    """Scopes and grants above the ceiling are dropped with the response types that went with them, and told."""
    asked = {**CODE, "scope": "openid read write", "grant_types": ["authorization_code", "client_credentials"]}
    rule = "{ rule = 'ceiling', below = 'user', scopes = ['openid', 'read'], grants = ['client_credentials'] }"
    decision = judged(rule, asked, Facts(Assurance.CLIENT))

    assert not decision.refused
    assert decision.metadata["scope"] == "openid read"
    assert decision.metadata["grant_types"] == ["client_credentials"]
    assert "response_types" not in decision.metadata
    assert [one.member for one in of_rules(decision)] == ["scope", "grant_types", "response_types"]


def test_a_ceiling_may_leave_no_scope() -> None:
    """Where no scope is below the ceiling there is none in the registration; a client may do without."""
    decision = judged("{ rule = 'ceiling', below = 'user', scopes = ['openid'] }", {**CODE, "scope": "read"})

    assert not decision.refused
    assert "scope" not in decision.metadata


@pytest.mark.requirement("SEED-17")
@given(
    st.lists(st.sampled_from(["openid", "read", "write"]), unique=True),
    st.lists(
        st.tuples(
            st.sampled_from([*Assurance]), st.lists(st.sampled_from(["openid", "read"]), min_size=1, unique=True)
        ),
        max_size=3,
    ),
)
def test_more_assurance_never_has_less(asked: list[str], ceilings: list[tuple[Assurance, list[str]]]) -> None:
    """Whatever ceilings there are, each step up in assurance has at least the scopes of the step below."""
    rules = ", ".join(f"{{ rule = 'ceiling', below = '{below}', scopes = {scopes} }}" for below, scopes in ceilings)
    held: set[str] = set()
    for assurance in Assurance:
        decision = judged(rules, {**CODE, "scope": " ".join(asked)}, Facts(assurance))
        scopes = set(str(decision.metadata.get("scope", "")).split())
        assert held <= scopes <= set(asked)
        held = scopes


def test_a_rule_cannot_add() -> None:
    """A rule that would register more than was judged is stopped: adding is for operators, which say so."""

    def generous(metadata: Mapping[str, Any], _facts: Facts) -> list[Finding]:
        return [
            RULES["rule.ceiling"].change("scope", metadata.get("scope"), "read write", given="", below="", accepted="")
        ]

    with pytest.raises(WideningError, match="scope"):
        judged("{ rule = 'generous' }", {**CODE, "scope": "read"}, generous=generous)


# --- sets of hosts and addresses ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEED-68")
def test_the_lists_that_ship() -> None:
    """Every list has hosts and a reason that an error can carry, and names no host of the clients that people use."""
    for name in DenyList:
        found = deny_lists()[name]
        assert found.hosts
        assert found.reason.isascii()
        assert not [
            host for host in ("claude.ai", "chatgpt.com", "vscode.dev", "www.cursor.com") if host in found.hosts
        ]


@pytest.mark.parametrize(
    "word", ["", "*", "*.", "A.example", "a.example/", "https://a.example", "a..b", "*.*.b", "a b"]
)
def test_what_is_no_host(word: str) -> None:
    """What could never be the host of a redirect URI, or would be too many, is refused."""
    with pytest.raises(ValueError, match="is no host"):
        Hosts.from_words([word])


def test_networks() -> None:
    """An address is in a network whichever way it is written, and what is no address is in none."""
    networks = Networks.from_words(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])

    assert all(one in networks for one in ("10.1.2.3", "192.0.2.7", "2001:db8::1", "::ffff:10.0.0.1"))
    assert not any(one in networks for one in ("11.0.0.1", "192.0.2.8", "2001:db9::1", "", "unix", "10.0.0.1.example"))
    with pytest.raises(ValueError, match="host bits"):
        Networks.from_words(["10.0.0.1/8"])


def test_the_example_key_is_a_key() -> None:
    """The keys of this file are such that the parser lets them be judged."""
    assert jwks.judge({"keys": [EC, OKP, RSA]}) == []


# --- how they are written ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{ rule = 'redirect_hosts' }", "rule redirect_hosts needs allowed"),
        ("{ rule = 'redirect_hosts', allowed = [] }", "allowed is a non-empty list of strings"),
        ("{ rule = 'redirect_hosts', allowed = ['https://a.example'] }", "https://a.example is no host such as"),
        ("{ rule = 'denied_hosts', lists = ['everything'] }", "lists is one of open_redirectors, user_content"),
        ("{ rule = 'redirect_kinds', allowed = ['http'] }", "allowed is one of https, loopback, private_use"),
        (
            "{ rule = 'matches', members = ['client_name'], pattern = '(a+)+b' }",
            "repeats what repeats or chooses already",
        ),
        ("{ rule = 'matches', members = ['client_name'], pattern = 3 }", "pattern is a pattern"),
        ("{ rule = 'matches', members = ['zzz'], pattern = 'a' }", "zzz, which is not a member of client metadata"),
        ("{ rule = 'matches', members = ['jwks'], pattern = 'a' }", "jwks is an object, which has no text"),
        ("{ rule = 'maximum', members = ['contacts'], items = -1 }", "items is a whole number"),
        ("{ rule = 'maximum', members = ['contacts'], items = true }", "items is a whole number"),
        ("{ rule = 'keys', types = ['oct'] }", "types is one of RSA, EC, OKP"),
        ("{ rule = 'ceiling', below = 'root' }", "below is one of open, document, client, user"),
        ("{ rule = 'ceiling', below = 'user', verdict = 'warn' }", "verdict is one of drop, refuse"),
        ("{ rule = 'token_bound', to = ['hope'] }", "to is one of address, certificate, attestation"),
    ],
)
def test_rules_that_are_not_taken(written: str, reason: str) -> None:
    """An argument that the rule does not take, or of another kind, keeps the server from starting, with the reason."""
    with pytest.raises(ConfigurationError) as caught:
        judged(written, CODE)

    assert reason in caught.value.reason
    assert caught.value.line == 1


# --- all of them, over anything ------------------------------------------------------------------------------------------------

_uris = st.sampled_from(
    [
        HTTPS,
        "https://t.co/",
        "https://x.github.io/",
        "http://localhost/",
        "http://127.0.0.1:1/",
        "a.b:/c",
        "cursor://x/y",
    ]
)
_members = st.fixed_dictionaries(
    {"redirect_uris": st.lists(_uris, min_size=1, max_size=4, unique=True)},
    optional={
        "grant_types": st.lists(st.sampled_from([*BOTH, "client_credentials"]), min_size=1, unique=True),
        "token_endpoint_auth_method": st.sampled_from(["none", "client_secret_basic", "client_secret_post"]),
        "application_type": st.sampled_from(["web", "native"]),
        "scope": st.sampled_from(["openid", "read write", "openid write"]),
        "software_id": st.just("s"),
        "contacts": st.lists(st.sampled_from(["a@b.example", "x"]), min_size=1, unique=True),
        "logo_uri": st.sampled_from(["https://a.example/l", "https://b.example/l"]),
    },
)
_facts = st.builds(
    Facts,
    st.sampled_from([*Assurance]),
    token_id=st.sampled_from(["", "t"]),
    attested=st.booleans(),
    registered=st.booleans(),
    before=st.one_of(st.none(), st.just({"token_endpoint_auth_method": "none"})),
    documents=st.sampled_from([{}, {"jwks_uri": {"keys": [{"kty": "EC"}]}}, {"jwks_uri": "nothing"}]),
)
_rules = st.lists(st.sampled_from(sorted({_written(case) for case in CASES})), max_size=4, unique=True)


@given(_rules, _members, _facts)
def test_rules_only_take_away(rules: list[str], members: dict[str, Any], facts: Facts) -> None:
    """Whatever rules there are, they are total and deterministic, add nothing, and leave redirect URIs as they came."""
    plain = judged("", members, facts)
    decision = judged(", ".join(rules), members, facts)

    assert decision == judged(", ".join(rules), members, facts)
    assert decision.metadata["redirect_uris"] == members["redirect_uris"]
    for name, value in decision.metadata.items():
        before = plain.metadata[name]
        words = value.split() if name == "scope" else value
        assert value == before or set(words) <= set(before.split() if name == "scope" else before)


def test_dangerous_schemes_need_no_rule() -> None:
    """What runs code is refused under every policy, so no list of a policy has to name it."""
    assert {"javascript", "data", "file"} <= DENIED_SCHEMES
