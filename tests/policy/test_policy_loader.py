"""Policies from TOML: what is taken, and what is refused with its line."""

from __future__ import annotations

import hashlib

import pytest

from registrar.domain.metadata import MEMBERS
from registrar.domain.software_statement import Claim, Roles, Use
from registrar.policy import Policy
from registrar.policy.document import ConfigurationError, Document
from registrar.policy.evidence import ManagementProof, Proof
from registrar.policy.loader import Written, load, load_all, shipped
from registrar.policy.operators import Operators
from registrar.policy.policy import Lifetime, Management, Repeat, Request
from registrar.policy.rules import RULE_FUNCTIONS


def loaded(text: str, *path: str) -> Policy:
    """The policy of a text, or of the table at a path of it."""
    document = Document("policy.toml", text)
    table = document.data
    for key in path:
        table = table[key]
    return load("mine", table, document, *path)


WHOLE = """description = "Ours."
rules = [
    { rule = "same_host", members = ["logo_uri", "tos_uri"], verdict = "refuse" },
    { rule = "localhost" },
]
[metadata.token_endpoint_auth_method]
one_of = ["private_key_jwt", "tls_client_auth"]
default = "private_key_jwt"
[metadata.scope]
add = ["openid"]
subset_of = ["openid", "accounts"]
default = "openid accounts"
superset_of = ["openid"]
[metadata.grant_types]
value = ["authorization_code"]
[metadata.contacts]
essential = true
[metadata.default_max_age]
one_of = [60, 3600]
[metadata.redirect_uris]
subset_of = ["https://a.example/cb"]
"""


@pytest.mark.requirement("SEED-85", "SEED-86", "SEED-87")
def test_a_policy() -> None:
    """Operators, rules, description and digest are read as they stand."""
    policy = loaded(WHOLE)

    assert (policy.name, policy.description) == ("mine", "Ours.")
    assert policy.digest == hashlib.sha256(WHOLE.encode()).hexdigest()
    assert dict(policy.members) == {
        "token_endpoint_auth_method": Operators(
            one_of=("private_key_jwt", "tls_client_auth"), default="private_key_jwt"
        ),
        "scope": Operators(
            add=("openid",), subset_of=("openid", "accounts"), default="openid accounts", superset_of=("openid",)
        ),
        "grant_types": Operators(value=["authorization_code"]),
        "contacts": Operators(essential=True),
        "default_max_age": Operators(one_of=(60, 3600)),
        "redirect_uris": Operators(subset_of=("https://a.example/cb",)),
    }
    assert [(one.name, dict(one.arguments)) for one in policy.rules] == [
        ("same_host", {"members": ("logo_uri", "tos_uri"), "verdict": "refuse"}),
        ("localhost", {}),
    ]
    assert all(one.function is RULE_FUNCTIONS[one.name] for one in policy.rules)


def test_a_policy_inside_a_configuration() -> None:
    """A policy may stand at any depth of a document; its digest is that of the document."""
    text = "[policy.mine.metadata.contacts]\nessential = true\n"

    assert loaded(text, "policy", "mine").members["contacts"].essential
    assert loaded(text, "policy", "mine").digest == hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(ConfigurationError, match=r"^policy.toml:1: policy mine is a table$"):
        loaded("policy.mine = 3", "policy", "mine")


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (2, "unknown key rule;", "description = 'x'\nrule = []"),
        (1, "description is text", "description = 3"),
        (1, "metadata is a table", "metadata = 3"),
        (1, "metadata is a table", "[[metadata]]"),
        (2, "rules is a list", "\nrules = 'x'"),
        (1, "rules is a list", "[rules]"),
        # which members
        (2, "zzz is not a member", "\n[metadata.zzz]\nessential = true"),
        (1, "client_id is not a member", "[metadata.client_id]\nvalue = 'x'"),
        (1, "software_statement belongs to software statements, which is not served", "[metadata.software_statement]\nessential = true"),
        (1, "revocation_endpoint_auth_method is not", "[metadata.revocation_endpoint_auth_method]\nvalue = 'none'"),
        (2, "client_name needs a table of operators", "[metadata]\nclient_name = 'x'"),
        (1, "client_name needs a table of operators", "[metadata.client_name]"),
        # which operators
        (3, "maximum is not an operator", "[metadata.contacts]\nessential = true\nmaximum = 3"),
        (2, "essential is true or false", "[metadata.contacts]\nessential = 'yes'"),
        (2, "add needs a non-empty list", "[metadata.contacts]\nadd = 'x'"),
        (2, "one_of needs a non-empty list", "[metadata.subject_type]\none_of = []"),
        (2, "subset_of needs a non-empty list", "[metadata.contacts]\nsubset_of = {}"),
        (2, "superset_of needs a non-empty list", "[metadata.contacts]\nsuperset_of = 1"),
        (1, "redirect URIs are checked and never changed", "[metadata.redirect_uris]\nadd = ['https://a.example']"),
        (1, "redirect URIs are checked and never changed", "[metadata.redirect_uris]\nvalue = ['https://a.example']"),
        (1, "redirect URIs are checked and never changed", "[metadata.redirect_uris]\ndefault = ['https://a.example']"),
        # operators that have no meaning for the member
        (2, "one_of is not for grant_types", "[metadata.grant_types]\none_of = [['authorization_code']]"),
        (2, "add is not for client_name, which is string; use one_of", "[metadata.client_name]\nadd = ['x']"),
        (2, "subset_of is not for require_auth_time", "[metadata.require_auth_time]\nsubset_of = ['x']"),
        (2, "superset_of is not for jwks", "[metadata.jwks]\nsuperset_of = ['x']"),
        (2, "subset_of is a list of single scopes", "[metadata.scope]\nsubset_of = ['a b']"),
        # values that the member cannot have
        (2, "value: is a number where", "[metadata.client_name]\nvalue = 1"),
        (2, "value: is a string where", "[metadata.grant_types]\nvalue = 'authorization_code'"),
        (2, "default: is a string where", "[metadata.require_auth_time]\ndefault = 'yes'"),
        (2, "default: ftp://x is not the URL", "[metadata.logo_uri]\ndefault = 'ftp://x'"),
        (2, "value is empty", "[metadata.client_name]\nvalue = ''"),
        (2, "value is empty", "[metadata.contacts]\nvalue = []"),
        (2, "default is empty", "[metadata.contacts]\ndefault = []"),
        (2, "subset_of is empty", "[metadata.contacts]\nsubset_of = ['']"),
        (2, "add: is an array where", "[metadata.contacts]\nadd = [1]"),
        (2, "subset_of: is an array where", "[metadata.grant_types]\nsubset_of = [{ a = 1 }]"),
        (2, "superset_of: is an array where", "[metadata.contacts]\nsuperset_of = [['x']]"),
        (2, "one_of: is an object where", "[metadata.token_endpoint_auth_method]\none_of = [{ a = 1 }]"),
        (2, "one_of: is a string where a boolean", "[metadata.require_auth_time]\none_of = ['x']"),
        (2, "add: ? is not a scope", "[metadata.scope]\nadd = ['é']"),
        (2, "subset_of: the scheme javascript", "[metadata.redirect_uris]\nsubset_of = ['javascript:x']"),
        # contradictions
        (1, "add and default have no effect beside", "[metadata.contacts]\nvalue = ['x']\nadd = ['y']"),
        (1, "add and default have no effect beside", "[metadata.client_name]\nvalue = 'x'\ndefault = 'y'"),
        (3, "value holds y, which subset_of", "[metadata.contacts]\nsubset_of = ['x']\nvalue = ['x', 'y']"),
        (3, "default holds y, which subset_of", "[metadata.scope]\nsubset_of = ['x']\ndefault = 'x y'"),
        (3, "add holds y, which subset_of", "[metadata.contacts]\nsubset_of = ['x']\nadd = ['y']"),
        (3, "superset_of holds y, which subset_of", "[metadata.contacts]\nsubset_of = ['x']\nsuperset_of = ['y']"),
        (3, "value is not one of one_of", "[metadata.subject_type]\none_of = ['public']\nvalue = 'pairwise'"),
        (2, "default is not one of one_of", "[metadata.default_max_age]\ndefault = 70\none_of = [60]"),
        (2, "value lacks y, which superset_of", "[metadata.contacts]\nvalue = ['x']\nsuperset_of = ['x', 'y']"),
        (2, "default lacks y, which superset_of", "[metadata.contacts]\ndefault = ['x']\nsuperset_of = ['x', 'y']"),
        # what the server cannot serve
        (2, "value holds password, which this server does not", "[metadata.grant_types]\nvalue = ['password']"),
        (2, "default holds RS999, which this server", "[metadata.id_token_signed_response_alg]\ndefault = 'RS999'"),
        (2, "one_of holds x, which this server", "[metadata.token_endpoint_auth_method]\none_of = ['none', 'x']"),
        (2, "subset_of holds implicit, which this server", "[metadata.grant_types]\nsubset_of = ['implicit']"),
        # rules
        (1, "a rule is a table such as", "rules = ['same_host']"),
        (2, "a rule is a table such as", "\nrules = [{ verdict = 'warn' }]"),
        (1, "a rule is a table such as", "rules = [{ rule = 1 }]"),
        (1, "there is no rule nothing; these are: ", "rules = [{ rule = 'nothing' }]"),
        (1, "rule same_host needs members", "rules = [{ rule = 'same_host' }]"),
        (1, "rule localhost has no members; it takes verdict", "rules = [{ rule = 'localhost', members = ['logo_uri'] }]"),
        (1, "verdict is one of refuse, warn", "rules = [{ rule = 'localhost', verdict = 'ignore' }]"),
        (1, "verdict is one of refuse, warn", "rules = [{ rule = 'localhost', verdict = ['warn'] }]"),
        (1, "members is a non-empty list of strings", "rules = [{ rule = 'same_host', members = [] }]"),
        (1, "members is a non-empty list of strings", "rules = [{ rule = 'same_host', members = 'logo_uri' }]"),
        (1, "members is a non-empty list of strings", "rules = [{ rule = 'same_host', members = [1] }]"),
        (1, "zzz, which is not a member of client metadata", "rules = [{ rule = 'same_host', members = ['zzz'] }]"),
        (1, "redirect_uris is not a member", "rules = [{ rule = 'same_host', members = ['logo_uri', 'redirect_uris'] }]"),
        (1, "there is no rule x", "[[rules]]\nrule = 'x'"),
    ],
)  # fmt: skip
def test_refused_policies(line: int, reason: str, text: str) -> None:
    """What is not understood, contradicts itself or can never be met is refused at load, with the line."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)

    assert caught.value.line == line
    assert reason in caught.value.reason
    assert str(caught.value) == f"policy.toml:{line}: {caught.value.reason}"


def test_a_list_may_be_longer_than_a_registration() -> None:
    """The limits of a registration are not those of an allow-list."""
    uris = [f"https://a.example/{at}" for at in range(500)]

    assert loaded(f"[metadata.redirect_uris]\nsubset_of = {uris}").members["redirect_uris"].subset_of == tuple(uris)


def test_shipped_profiles() -> None:
    """Every profile that ships loads, describes itself and decides only about members that exist."""
    profiles = shipped()

    assert "default" in profiles
    for name, policy in profiles.items():
        assert policy.name == name
        assert policy.description
        assert len(policy.digest) == 64
        assert set(policy.members) <= set(MEMBERS)
    assert profiles["default"].members == {}
    assert [one.name for one in profiles["default"].rules] == [
        "same_host",
        "localhost",
        "lookalike",
        "mixed_scripts",
        "brands",
        "software_hosts",
    ]


# --- what a policy demands, and what it extends ---------------------------------------------------------------------------

SECTIONS = """features = ["JARM"]
repeat = "refuse"
[registration]
authentication = ["statement+certificate", "statement"]
[statement]
algorithms = ["PS256"]
required_claims = ["iss", "software_id"]
audience = "issuer"
maximum_age = 300
replay_window = 600
attests = ["client_name"]
[statement.members]
redirect_uris = { claim = "software_redirect_uris", use = "limit" }
client_uri = "software_client_uri"
[statement.status]
software_status = ["Active"]
[statement.roles]
claim = "software_roles"
AISP = ["accounts"]
[request]
signed = "required"
algorithms = ["PS256"]
maximum_lifetime = 60
audience = "registration_endpoint"
jti = "[0-9a-f]{32}"
[management]
authentication = ["access_token", "certificate"]
scope = "register"
operations = ["read"]
[lifetime]
client = 3600
secret = 60
"""


@pytest.mark.requirement("SEED-95", "SEED-90")
def test_sections() -> None:
    """How registrations and their management are proven, how statements and requests are read, and how long it all lasts."""
    policy = loaded(SECTIONS)

    assert policy.features == {"JARM"}
    assert policy.repeat is Repeat.REFUSE
    assert policy.proofs == (frozenset({Proof.STATEMENT, Proof.CERTIFICATE}), frozenset({Proof.STATEMENT}))
    assert policy.statement is not None
    assert policy.statement.members["redirect_uris"] == Claim("software_redirect_uris", Use.LIMIT)
    assert policy.statement.members["client_uri"] == Claim("software_client_uri")
    assert policy.statement.roles == Roles("software_roles", {"AISP": ("accounts",)})
    assert policy.statement.status == {"software_status": ("Active",)}
    assert (policy.statement.maximum_age, policy.statement.replay_window) == (300, 600)
    assert policy.request == Request("required", ("PS256",), 60, "registration_endpoint", jti="[0-9a-f]{32}")
    assert policy.management == Management(
        (ManagementProof.ACCESS_TOKEN, ManagementProof.CERTIFICATE), "register", ("read",)
    )
    assert policy.lifetime == Lifetime(3600, 60)
    assert loaded("").proofs == ()
    assert loaded("").management == Management()


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        # features
        (1, "features is a list of features", "features = 'JARM'"),
        (2, "features holds zzz; known are", "description = 'x'\nfeatures = ['zzz']"),
        (1, "features is a non-empty list of strings", "features = []"),
        (1, 'authorization_signed_response_alg belongs to JARM, which is not served; features = ["JARM"]', "[metadata.authorization_signed_response_alg]\none_of = ['PS256']"),
        # registration
        (1, "registration is a table", "registration = 'x'"),
        (1, "registration has no authorization; it takes authentication", "[registration]\nauthorization = ['x']"),
        (2, "hope is no proof; these are: initial_access_token, statement, certificate, signed_request", "[registration]\nauthentication = ['hope']"),
        (2, "preregistered is no proof", "[registration]\nauthentication = ['preregistered']"),
        (2, "hope is no proof", "[registration]\nauthentication = ['statement+hope']"),
        (2, "authentication is a non-empty list", "[registration]\nauthentication = []"),
        (2, "authentication is a non-empty list", "[registration]\nauthentication = 'statement'"),
        # statement
        (2, "statement has no issuer; it takes algorithms", "[statement]\nissuer = 'x'"),
        (2, "algorithms holds none; known are", "[statement]\nalgorithms = ['none']"),
        (2, "maximum_age is a whole number of seconds", "[statement]\nmaximum_age = -1"),
        (2, "audience is issuer or registration_endpoint", "[statement]\naudience = 'me'"),
        (2, "attests holds client_id, which is not a member that a client registers", "[statement]\nattests = ['client_id']"),
        (2, "client_secret is not a member that a client registers", "[statement.members]\nclient_secret = 'x'"),
        (2, "a claim is", "[statement.members]\nclient_name = 3"),
        (2, "a claim is", "[statement.members]\nclient_name = { claim = 'x', use = 'widen' }"),
        (1, "members is a table with at least one row", "[statement.members]"),
        (1, "roles needs the claim that holds them", "[statement.roles]\nAISP = ['accounts']"),
        (2, "software_status is a non-empty list", "[statement.status]\nsoftware_status = 'Active'"),
        # request
        (2, "request has no format; it takes signed", "[request]\nformat = 'jwt'"),
        (2, "signed is one of no, allowed, required", "[request]\nsigned = 'yes'"),
        (2, "signed is a string", "[request]\nsigned = true"),
        (2, "maximum_lifetime is a whole number", "[request]\nmaximum_lifetime = '60'"),
        (2, "maximum_lifetime is a whole number", "[request]\nmaximum_lifetime = true"),
        (2, "maximum_lifetime is in seconds and not negative", "[request]\nmaximum_lifetime = -1"),
        (2, "audience is one of issuer, registration_endpoint", "[request]\naudience = 'me'"),
        (2, "repeats what repeats", "[request]\njti = '(a+)+b'"),
        (1, "so a statement has to be demanded", "[request]\nsigned = 'allowed'"),
        (1, "a signed request is demanded and not taken", "[registration]\nauthentication = ['signed_request']"),
        # management
        (2, "management has no method; it takes", "[management]\nmethod = 'x'"),
        (2, "authentication holds hope; known are", "[management]\nauthentication = ['hope']"),
        (2, "operations holds patch; known are read, update, delete", "[management]\noperations = ['patch']"),
        (2, "operations is a non-empty list", "[management]\noperations = []"),
        (1, "an access token and its scope go together", "[management]\nauthentication = ['access_token']"),
        (1, "an access token and its scope go together", "[management]\nscope = 'x'"),
        (1, "a certificate alone does not say", "[management]\nauthentication = ['certificate']"),
        (2, "scope is a string", "[management]\nscope = ''"),
        # repeat and lifetime
        (1, "repeat is one of new, refuse, same, replace", "repeat = 'again'"),
        (1, "repeat is text", "repeat = true"),
        (1, "a software_id that anybody can claim would let them take another's registration", "repeat = 'replace'"),
        (2, "lifetime has no token; it takes client, secret", "[lifetime]\ntoken = 3"),
        (2, "rotation has no token; it takes secret_on_update, overlap", "[rotation]\ntoken = true"),
        (2, "secret_on_update is true or false", "[rotation]\nsecret_on_update = 1"),
        (2, "overlap is in seconds and not negative", "[rotation]\noverlap = -1"),
        (2, "client is in seconds and not negative", "[lifetime]\nclient = -1"),
        (2, "secret is a whole number", "[lifetime]\nsecret = 1.5"),
        # unsafe, or never to be met
        (1, "no grant that they could use", "metadata.token_endpoint_auth_method.value = 'none'\nmetadata.grant_types.value = ['client_credentials']"),
        # extends
        (1, "extends is a list of the names of policies", "extends = 'default'"),
        (1, "extends is a non-empty list", "extends = []"),
        (2, "there is no policy zzz to extend; these are: ", "description = 'x'\nextends = ['zzz']"),
        (1, "mine extends mine: that has no end", "extends = ['mine']"),
        (1, "mine contradict each other: grant_types: value", "extends = ['default', 'ephemeral']\n[metadata.grant_types]\nvalue = ['refresh_token']"),
    ],
)  # fmt: skip
def test_refused_sections(line: int, reason: str, text: str) -> None:
    """What a section does not take, and combinations that are unsafe or can never be met, are refused with the line."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)

    assert reason in caught.value.reason
    assert caught.value.line == line


FAMILY = """
[policy.base]
lifetime.client = 100
[policy.base.metadata.grant_types]
subset_of = ["authorization_code", "refresh_token"]
[policy.base.metadata.scope]
default = "openid"
[policy.child]
description = "A child."
extends = ["base"]
rules = [{ rule = "localhost" }]
[policy.child.metadata.grant_types]
subset_of = ["authorization_code", "client_credentials"]
[policy.grandchild]
extends = ["child", "base"]
lifetime.client = 500
"""


@pytest.mark.requirement("SEED-88")
def test_policies_extend_each_other() -> None:
    """A policy has what it extends, merged by the standard's rules, under its own name, in whatever order they stand."""
    document = Document("policies", FAMILY)
    tables = document.data["policy"]
    orders = [load_all({name: Written(tables[name], document, ("policy", name)) for name in names}) for names in (
        ("base", "child", "grandchild"), ("grandchild", "child", "base")
    )]  # fmt: skip

    assert orders[0] == orders[1]
    child, grandchild = orders[0]["child"], orders[0]["grandchild"]
    assert (child.name, child.description) == ("child", "A child.")
    assert child.members["grant_types"].subset_of == ("authorization_code",)
    assert child.members["scope"].default == "openid"
    assert grandchild.members == child.members
    assert [one.name for one in grandchild.rules] == ["localhost"]
    assert grandchild.lifetime == Lifetime(client=100)
    assert grandchild.description == ""


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (4, "a extends b extends a: that has no end", "[policy.a]\nextends = ['b']\n[policy.b]\nextends = ['a']"),
        (6, "b and c contradict each other: scope: value is x in one and y in the other", "[policy.b.metadata.scope]\nvalue = 'x'\n[policy.c.metadata.scope]\nvalue = 'y'\n[policy.d]\nextends = ['b', 'c']"),
        (4, "there is no policy c to extend; these are: a", "[policy.a]\ndescription = 'x'\n[policy.b]\nextends = ['c']"),
        (2, "a and b contradict each other: grant_types: subset_of has nothing in common", "[policy.b]\nextends = ['a']\nmetadata.grant_types.subset_of = ['authorization_code']\n[policy.a.metadata.grant_types]\nsubset_of = ['client_credentials']"),
    ],
)  # fmt: skip
def test_families_that_cannot_be(line: int, reason: str, text: str) -> None:
    """Cycles, unknown parents and contradictions are refused, with the line of the policy that extends."""
    document = Document("policies", text)
    tables = document.data["policy"]
    with pytest.raises(ConfigurationError) as caught:
        load_all({name: Written(tables[name], document, ("policy", name)) for name in tables})

    assert reason in caught.value.reason
    assert caught.value.line == line


# --- documents ------------------------------------------------------------------------------------------------------------

TEXT = """# a comment
top = 1

[a]
x = 1
"quoted" = 2
dotted.key = 3

[a.b]
list = [
    1,
]

[ c . "d" ]
  y = { z = 1 }
[[rows]]
name = 1
[[rows]]
name = 2
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a",), 4),
        (("a", "x"), 5),
        (("a", "quoted"), 6),
        (("a", "dotted", "key"), 7),
        (("a", "b"), 9),
        (("a", "b", "list"), 10),
        (("a", "b", "nothing"), 9),
        (("c", "d", "y"), 15),
        (("c", "d", "y", "z"), 15),
        (("c", "d"), 14),
        (("rows",), 16),
        (("rows", "name"), 17),
        (("nothing",), 0),
        (("x",), 0),
        ((), 0),
    ],
)
def test_lines(path: tuple[str, ...], line: int) -> None:
    """A key is found on its line, or the nearest table above it; what is nowhere has no line."""
    assert Document("file", TEXT).line(*path) == line


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\na = 2", 2), ("= 1", 1), ("a = 1\n\nb = ", 3), ("a = 1\n[b\n", 2), ("a = 'x", 1)]
)
def test_what_is_no_toml(text: str, line: int) -> None:
    """Text that is no TOML is refused with its line: the last one, where only the end shows it."""
    with pytest.raises(ConfigurationError) as caught:
        Document("file", text)

    assert caught.value.where == "file"
    assert caught.value.line == line
    assert str(caught.value).startswith(f"file:{line}: ")
