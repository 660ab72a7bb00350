"""Software statements: what their claims have to be, how they become members, and how these stand beside the plain ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import software_statement as statements
from registrar.domain.findings import Finding, Verdict
from registrar.domain.metadata import MEMBERS, Presented, Role
from registrar.domain.software_statement import Attestation, Claim, Form, Roles, Use

REDIRECTS = ["https://a.example/cb", "https://b.example/cb"]


def attested(members: dict[str, Any], use: Use = Use.OVERRIDE, **uses: Use) -> Attestation:
    """An attestation of these members."""
    return Attestation(
        name="directory",
        issuer="https://directory.example",
        compact="a.b.c",
        digest="00",
        claims={},
        members=members,
        uses=dict.fromkeys(members, use) | uses,
        software="app",
    )


def told(findings: list[Finding]) -> list[str]:
    """Rule, member and error of each refusal; rule and member of each other finding."""
    return [f"{one.rule}:{one.member}" + (f":{one.error}" if one.error else "") for one in findings]


# --- what the claims have to be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", []])
def test_required_claims(value: Any) -> None:
    """A claim that is demanded and missing, or empty, makes the statement invalid, and names the claim."""
    form = Form(required_claims=("org_id", "software_id"))

    (found,) = statements.judge(form, {"org_id": value, "software_id": "x"})

    assert (found.error, found.member) == ("invalid_software_statement", "software_statement")
    assert "org_id" in found.reason
    assert list(statements.judge(form, {"org_id": "y", "software_id": "x"})) == []


@pytest.mark.parametrize("value", ["Revoked", None, ["Active"], 1])
def test_status(value: Any) -> None:
    """A standing that is not one of the approved makes the statement unapproved; it is in order otherwise."""
    form = Form(status={"org_status": ("Active",)})

    (found,) = statements.judge(form, {"org_status": value})

    assert found.error == "unapproved_software_statement"
    assert list(statements.judge(form, {"org_status": "Active"})) == []


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        (["AISP", "PISP"], ["AISP", "PISP"]),
        ([{"role": "DADOS", "status": "Active"}, {"role": "PAGTO", "status": "Inactive"}], ["DADOS"]),
        ([{"role": "DADOS"}], ["DADOS"]),
        ([], []),
        ("AISP", None),
        (None, None),
        ([1], None),
        ([{"name": "DADOS"}], None),
    ],
)
def test_roles(value: Any, roles: list[str] | None) -> None:
    """Roles are names, or objects of which the active ones count; any other shape cannot be read."""
    assert statements.roles_of(value) == roles
    found = list(statements.judge(Form(roles=Roles("roles", {"DADOS": ("accounts",)})), {"roles": value}))
    assert told(found) == (
        ["statement.claim_type:software_statement:invalid_software_statement"] if roles is None else []
    )


# --- how they become members ----------------------------------------------------------------------------------------------


def test_claims_under_their_own_name() -> None:
    """Without a mapping, every claim that is a member is one; whatever is none is left out."""
    members, uses, findings = statements.members_of(
        Form(), {"iss": "x", "client_name": "App", "client_name#fr": "Appli", "redirect_uris": REDIRECTS, "org_id": "o"}
    )

    assert members == {"client_name": "App", "client_name#fr": "Appli", "redirect_uris": REDIRECTS}
    assert set(uses.values()) == {Use.OVERRIDE}
    assert findings == []


def test_mapped_claims() -> None:
    """With a mapping, the claims that it names stand for members, and no claim does so by its name alone."""
    form = Form(
        members={"client_name": Claim("software_client_name"), "redirect_uris": Claim("uris", Use.LIMIT)},
        attests=("tos_uri",),
    )
    claims = {
        "software_client_name": "App",
        "uris": REDIRECTS,
        "logo_uri": "https://a.example/",
        "tos_uri": "https://t.example/",
    }

    members, uses, _ = statements.members_of(form, claims)

    assert members == {"client_name": "App", "redirect_uris": REDIRECTS, "tos_uri": "https://t.example/"}
    assert uses == {"client_name": Use.OVERRIDE, "redirect_uris": Use.LIMIT, "tos_uri": Use.OVERRIDE}


def test_a_number_as_a_version() -> None:
    """Directories write versions as numbers; the member is text. A truth value is no version."""
    form = Form(members={"software_version": Claim("v"), "software_id": Claim("i")})

    assert statements.members_of(form, {"v": 1.1, "i": 7})[0] == {"software_version": "1.1", "software_id": "7"}
    assert statements.members_of(form, {"v": True})[0] == {"software_version": True}


@pytest.mark.requirement("WILD-13")
@pytest.mark.parametrize("name", [name for name, row in MEMBERS.items() if row.role is not Role.CLIENT])
def test_what_no_statement_sets(name: str) -> None:
    """What the server issues or derives is never set by a claim, whoever signed it."""
    members, _, findings = statements.members_of(Form(), {name: "chosen", "software_statement": "a.b.c"})

    assert members == {}
    derived = MEMBERS[name].role is Role.DERIVED
    assert told(findings) == ([] if derived else [f"statement.issued:{name}"])


@pytest.mark.parametrize("use", [Use.LIMIT, Use.WITHIN])
def test_scopes_of_roles(use: Use) -> None:
    """The scopes are those of all roles in force, each once; roles that nobody knows give none."""
    form = Form(roles=Roles("roles", {"A": ("openid", "accounts"), "P": ("openid", "payments")}, use))

    members, uses, _ = statements.members_of(form, {"roles": ["P", "A", "X"]})

    assert (members["scope"], uses["scope"]) == ("openid payments accounts", use)
    assert statements.members_of(form, {"roles": ["X"]})[0]["scope"] == ""


# --- beside the plain members -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("R7591-22", "WILD-13", "R7591-54")
def test_the_statement_wins_and_plain_members_stay() -> None:
    """What both say is the statement's, and told; what one says is kept, attested or not."""
    plain = Presented({"client_name": "Other", "contacts": ["a@a.example"], "software_statement": "a.b.c"})

    members, findings, provenance = statements.overlay(plain, attested({"client_name": "App", "tos_uri": "https://t/"}))

    assert members == {"client_name": "App", "contacts": ["a@a.example"], "tos_uri": "https://t/"}
    assert told(findings) == ["statement.overrides:client_name"]
    assert (findings[0].before, findings[0].after) == ("Other", "App")
    assert provenance == {"client_name": "attested:directory", "tos_uri": "attested:directory"}
    assert plain["client_name"] == "Other"


@pytest.mark.parametrize(
    ("use", "given", "registered", "refusals"),
    [
        (Use.LIMIT, None, REDIRECTS, []),
        (Use.LIMIT, [], REDIRECTS, []),
        (Use.LIMIT, REDIRECTS[:1], REDIRECTS[:1], []),
        (Use.LIMIT, ["https://evil.example/"], None, ["statement.beyond_redirect:redirect_uris:invalid_redirect_uri"]),
        (Use.WITHIN, REDIRECTS[1:], REDIRECTS[1:], []),
        (Use.WITHIN, None, None, []),
        (Use.WITHIN, [*REDIRECTS, "https://evil.example/"], None, ["statement.beyond_redirect:redirect_uris:invalid_redirect_uri"]),
        (Use.EQUAL, None, REDIRECTS, []),
        (Use.EQUAL, REDIRECTS, REDIRECTS, []),
        (Use.EQUAL, REDIRECTS[:1], None, ["statement.differs:redirect_uris:invalid_client_metadata"]),
        (Use.LIMIT, "https://a.example/cb", None, ["statement.differs:redirect_uris:invalid_client_metadata"]),
    ],
)  # fmt: skip
def test_redirects(use: Use, given: Any, registered: Any, refusals: list[str]) -> None:
    """A choice within the statement is the client's; beyond it, it is refused, and nothing is dropped in silence."""
    plain = Presented({} if given is None else {"redirect_uris": given})
    members, findings, _ = statements.overlay(plain, attested({"redirect_uris": REDIRECTS}, use))

    assert told(findings) == refusals
    if not refusals:
        assert members.get("redirect_uris") == registered


@pytest.mark.parametrize(
    ("given", "registered", "said"),
    [
        ("accounts", "accounts", []),
        ("openid accounts payments", "openid accounts", ["statement.beyond_dropped:scope"]),
        ("payments", None, ["statement.beyond:scope:invalid_client_metadata"]),
        (None, "openid accounts", []),
        (7, None, ["statement.differs:scope:invalid_client_metadata"]),
    ],
)
def test_scopes(given: Any, registered: str | None, said: list[str]) -> None:
    """Of scopes those that the statement allows are kept; none of them is an error."""
    plain = Presented({} if given is None else {"scope": given})
    members, findings, _ = statements.overlay(plain, attested({"scope": "openid accounts"}, Use.LIMIT))

    assert told(findings) == said
    if registered is not None:
        assert members["scope"] == registered


def test_a_statement_with_scopes_of_another_shape() -> None:
    """Scopes that are no string limit nothing and break nothing: the choice is refused."""
    _, findings, _ = statements.overlay(Presented({"scope": "a"}), attested({"scope": ["a"]}, Use.LIMIT))

    assert told(findings) == ["statement.differs:scope:invalid_client_metadata"]


def test_no_scope_at_all() -> None:
    """A statement whose roles allow no scope leaves none."""
    assert statements.overlay(Presented({}), attested({"scope": ""}, Use.LIMIT))[0] == {}


_lists = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True)


@given(allowed=_lists, asked=_lists, use=st.sampled_from([Use.LIMIT, Use.WITHIN, Use.EQUAL]))
def test_nothing_is_ever_widened(allowed: list[str], asked: list[str], use: Use) -> None:
    """Whatever is asked for, what is not refused is within the statement."""
    plain = Presented({"grant_types": asked, "scope": " ".join(asked)})
    uses = {"grant_types": use, "scope": use}
    members, findings, _ = statements.overlay(
        plain, attested({"grant_types": allowed, "scope": " ".join(allowed)}, **uses)
    )
    refused = {one.member for one in findings if one.verdict is Verdict.REFUSED}

    if "grant_types" not in refused:
        assert set(members.get("grant_types") or ()) <= set(allowed)
    if "scope" not in refused:
        assert set((members.get("scope") or "").split()) <= set(allowed)


def test_an_attestation_is_printed_without_the_statement() -> None:
    """Who has a statement can register with it, so that it stands in no log."""
    assert "a.b.c" not in repr(attested({"client_name": "App"}))
