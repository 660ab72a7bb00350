"""Several policies as one: what satisfies all of them, by the standard's rules of merging, and never more than each."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain.client import Assurance
from registrar.domain.findings import Finding, Verdict
from registrar.domain.metadata import Presented
from registrar.domain.server_metadata import OFFERED, Offered
from registrar.policy import Contradiction, Facts, Judge, Policy, all_of
from registrar.policy.document import Document
from registrar.policy.evidence import ManagementProof, Proof, both
from registrar.policy.loader import load
from registrar.policy.operators import Operators, from_words
from registrar.policy.policy import Lifetime, Repeat, Request, Rotation, merged

OPEN = Facts(Assurance.OPEN)
SCOPES = Offered({**OFFERED, "scopes_supported": ("openid", "read", "write")})
WORDS = ("openid", "read", "write")


def pool(name: str) -> list[Operators]:
    """Every combination of operators over a few lists that the loader would take."""
    lists = [None, ("openid",), ("read",), ("openid", "read"), WORDS]
    whole = [None, *(" ".join(one) if name == "scope" else list(one) for one in lists[1:] if one)]
    combined = itertools.product(whole, lists, whole, lists, lists, (False, True))
    made = (
        Operators(value=value, add=add, default=default, subset_of=subset, superset_of=superset, essential=essential)
        for value, add, default, subset, superset, essential in combined
        if value is None or (add is None and default is None)
    )
    return [one for one in made if not one.contradiction(name)]


POOLS = {name: pool(name) for name in ("scope", "contacts")}
_pairs = st.sampled_from(sorted(POOLS)).flatmap(
    lambda name: st.tuples(st.just(name), *[st.sampled_from(POOLS[name])] * 2)
)
_triples = st.sampled_from(sorted(POOLS)).flatmap(
    lambda name: st.tuples(st.just(name), *[st.sampled_from(POOLS[name])] * 3)
)
_asked = st.none() | st.lists(st.sampled_from((*WORDS, "other")), min_size=1, max_size=4, unique=True)


def applied(one: Operators, name: str, value: Any) -> tuple[Any, list[Finding]]:
    """What becomes of a value, and the findings."""
    findings: list[Finding] = []
    return one.check(name, one.modify(name, value, findings), findings), findings


def unordered(one: Operators) -> tuple[Any, ...]:
    """Operators without the order in which lists stand."""
    return (
        *(str(one.value), str(one.default), one.essential),
        *(frozenset(held or ()) for held in (one.add, one.one_of, one.subset_of, one.superset_of)),
    )


# --- the table of the standard ------------------------------------------------------------------------------------------------

MERGED: list[tuple[str, Operators, Operators, Operators | str]] = [
    ("value", Operators(value="a"), Operators(value="a"), Operators(value="a")),
    ("value", Operators(value="a"), Operators(value="b"), "value is a in one and b in the other"),
    ("value", Operators(value="a"), Operators(), Operators(value="a")),
    ("value", Operators(value="a"), Operators(one_of=("b",)), "value is not one of one_of"),
    ("value", Operators(value="a"), Operators(default="b"), Operators(value="a", default="b")),
    ("add", Operators(add=("a",)), Operators(add=("b", "a")), Operators(add=("a", "b"))),
    ("add", Operators(add=("a",)), Operators(subset_of=("b",)), "add holds a, which subset_of does not allow"),
    ("default", Operators(default="a"), Operators(default="a"), Operators(default="a")),
    ("default", Operators(default="a"), Operators(default="b"), "default is a in one and b in the other"),
    ("one_of", Operators(one_of=("a", "b")), Operators(one_of=("b", "c")), Operators(one_of=("b",))),
    ("one_of", Operators(one_of=("a",)), Operators(one_of=("b",)), "one_of has nothing in common"),
    ("subset_of", Operators(subset_of=("a", "b")), Operators(subset_of=("c", "b")), Operators(subset_of=("b",))),
    ("subset_of", Operators(subset_of=("a",)), Operators(subset_of=("b",)), "subset_of has nothing in common"),
    ("superset_of", Operators(superset_of=("a",)), Operators(superset_of=("b",)), Operators(superset_of=("a", "b"))),
    ("superset_of", Operators(superset_of=("a",)), Operators(subset_of=("b",)), "superset_of holds a, which subset_of"),
    ("essential", Operators(essential=True), Operators(), Operators(essential=True)),
    ("essential", Operators(), Operators(essential=True), Operators(essential=True)),
]


@pytest.mark.requirement("SEED-88", "SEED-95")
@pytest.mark.parametrize(
    ("one", "other", "result"), [pytest.param(*case[1:], id=f"{case[0]} {at}") for at, case in enumerate(MERGED)]
)
def test_operators_are_merged_as_the_standard_says(one: Operators, other: Operators, result: Operators | str) -> None:
    """Each operator by its own rule (OpenID Federation 1.0 §6.1.3.1), or an error where nothing could pass both."""
    if isinstance(result, str):
        with pytest.raises(ValueError, match=result):
            one.merged("client_name", other)
    else:
        assert one.merged("client_name", other) == result


# --- properties of operators --------------------------------------------------------------------------------------------------


@given(_pairs, _asked)
def test_what_passes_both_together_passes_each(pair: tuple[str, Operators, Operators], asked: list[str] | None) -> None:
    """Merging never widens: neither of the two changes or refuses what the two together let through."""
    name, first, second = pair
    try:
        together = first.merged(name, second)
    except ValueError:
        return
    result, found = applied(together, name, None if asked is None else from_words(name, asked))
    if any(finding.verdict is Verdict.REFUSED for finding in found):
        return

    for each in (first, second):
        after, said = applied(each, name, result)
        assert after == result
        assert said == []


@given(_pairs)
def test_the_order_of_two_does_not_matter(pair: tuple[str, Operators, Operators]) -> None:
    """Two policies are the same policy together, or the same contradiction, whichever comes first."""
    name, first, second = pair

    def outcome(one: Operators, other: Operators) -> Any:
        try:
            return unordered(one.merged(name, other))
        except ValueError:
            return None

    assert outcome(first, second) == outcome(second, first)


@given(_triples)
def test_how_three_are_grouped_does_not_matter(triple: tuple[str, Operators, Operators, Operators]) -> None:
    """Where three go together in two groupings, they come to the same."""
    name, a, b, c = triple
    try:
        left, right = a.merged(name, b).merged(name, c), a.merged(name, b.merged(name, c))
    except ValueError:
        return

    assert unordered(left) == unordered(right)


@given(_pairs)
def test_a_policy_with_itself_is_itself(pair: tuple[str, Operators, Operators]) -> None:
    """Extending a policy twice changes nothing."""
    name, one, _ = pair

    assert unordered(one.merged(name, one)) == unordered(one)


# --- whole policies -------------------------------------------------------------------------------------------------------------


def policy(text: str, name: str = "p") -> Policy:
    """The policy of a text."""
    document = Document(name, text)
    return load(name, document.data, document)


ONE = policy(
    """
    rules = [{ rule = "localhost", verdict = "refuse" }]
    registration.authentication = ["initial_access_token", "certificate"]
    lifetime.client = 100
    rotation.overlap = 90
    [metadata.grant_types]
    subset_of = ["authorization_code", "refresh_token"]
    [metadata.scope]
    subset_of = ["openid", "read"]
    """,
    "one",
)
OTHER = policy(
    """
    features = ["JARM"]
    rules = [{ rule = "refresh_requires_confidential" }, { rule = "localhost", verdict = "refuse" }]
    registration.authentication = ["statement"]
    management.operations = ["read"]
    lifetime.client = 50
    lifetime.secret = 70
    rotation = { secret_on_update = true, overlap = 100 }
    [metadata.grant_types]
    subset_of = ["authorization_code", "client_credentials"]
    [metadata.contacts]
    essential = true
    """,
    "other",
)


def test_two_policies_together() -> None:
    """Members by their operators, rules once each, features and demands of both, the shorter lifetime, a name of both."""
    together = merged(ONE, OTHER)

    assert together.name == "one other"
    assert together.digest not in (ONE.digest, OTHER.digest)
    assert together.members["grant_types"].subset_of == ("authorization_code",)
    assert set(together.members) == {"grant_types", "scope", "contacts"}
    assert [one.name for one in together.rules] == ["localhost", "refresh_requires_confidential"]
    assert together.features == {"JARM"}
    assert set(together.proofs) == {
        frozenset({Proof.INITIAL_ACCESS_TOKEN, Proof.STATEMENT}),
        frozenset({Proof.CERTIFICATE, Proof.STATEMENT}),
    }
    assert together.lifetime == Lifetime(client=50, secret=70)
    assert together.rotation == Rotation(secret_on_update=True, overlap=90)
    assert together.management.operations == ("read",)
    assert together.management.proofs == (ManagementProof.REGISTRATION_ACCESS_TOKEN,)
    assert all_of([ONE]) is ONE


def test_sections_of_the_later_policy_are_taken_where_it_says_something() -> None:
    """How requests are written is not merged: the later policy says it, or the earlier one where that is silent."""
    signed = policy('registration.authentication = ["statement"]\nrequest.signed = "required"\nrepeat = "refuse"')

    assert merged(signed, ONE).request.signed == merged(ONE, signed).request.signed == "required"
    assert merged(signed, ONE).repeat is Repeat.REFUSE
    assert merged(ONE, OTHER).request == Request()


def test_contradictions_name_both_policies() -> None:
    """Policies that nothing could satisfy together are told by name, with the member and the reason."""
    machine = policy("[metadata.grant_types]\nsubset_of = ['client_credentials']", "machine")

    with pytest.raises(Contradiction, match=r"^one and machine contradict each other: grant_types: subset_of has no"):
        merged(ONE, machine)


_grants = st.lists(
    st.sampled_from(["authorization_code", "refresh_token", "client_credentials"]), min_size=1, unique=True
)
_registrations = st.fixed_dictionaries(
    {"redirect_uris": st.lists(st.sampled_from(["https://a.example/", "http://localhost/"]), min_size=1, unique=True)},
    optional={
        "grant_types": _grants,
        "scope": st.lists(st.sampled_from([*WORDS, "other"]), min_size=1, unique=True).map(" ".join),
        "contacts": st.just(["a@b.example"]),
        "token_endpoint_auth_method": st.sampled_from(["none", "client_secret_basic"]),
    },
)
PLAIN = [
    "rules = [{ rule = 'localhost', verdict = 'refuse' }]",
    "rules = [{ rule = 'refresh_requires_confidential' }]",
    "rules = [{ rule = 'ceiling', below = 'user', scopes = ['openid'] }]",
    "[metadata.grant_types]\nsubset_of = ['authorization_code', 'refresh_token']",
    "[metadata.grant_types]\nsubset_of = ['authorization_code', 'client_credentials']",
    "[metadata.scope]\nsubset_of = ['openid', 'read']\ndefault = 'openid'",
    "[metadata.scope]\nadd = ['read']",
    "[metadata.contacts]\nessential = true",
    "registration.authentication = ['initial_access_token']",
    "registration.authentication = ['initial_access_token', 'statement']",
]


@pytest.mark.requirement("SEED-88")
@given(
    st.lists(st.sampled_from(PLAIN), min_size=2, max_size=3, unique=True),
    _registrations,
    st.sampled_from([OPEN, Facts(Assurance.CLIENT, token_id="t")]),
)
def test_what_all_allow_each_allows(texts: list[str], members: dict[str, Any], facts: Facts) -> None:
    """A registration under several policies is one of which each of them would take nothing away.

    One of them may add a scope to it that another's ceiling forbids: of the two, the ceiling is obeyed.
    """
    each = [policy(text) for text in texts]
    try:
        whole = Judge(all_of(each), SCOPES)
    except Contradiction:
        return
    decision = whole(whole.read(Presented(dict(members)))[0], facts)

    assert decision == whole(whole.read(Presented(dict(members)))[0], facts)
    assert decision.metadata["redirect_uris"] == members["redirect_uris"]
    if decision.refused:
        return
    for one in each:
        alone = Judge(one, SCOPES)
        again = alone(alone.read(Presented(dict(decision.metadata)))[0], facts)
        assert not again.refused
        assert {name: value for name, value in again.metadata.items() if name != "scope"} == {
            name: value for name, value in decision.metadata.items() if name != "scope"
        }
        if "scope" in decision.metadata:
            left = again.metadata["scope"].split()
            added = set(left) - set(decision.metadata["scope"].split())
            assert [scope for scope in left if scope not in added] == decision.metadata["scope"].split()
            assert added <= set((one.members["scope"].add if "scope" in one.members else None) or ())


_alternatives = st.lists(st.frozensets(st.sampled_from([*Proof]), min_size=1), max_size=3, unique=True).map(tuple)


@given(_alternatives, _alternatives, st.frozensets(st.sampled_from([*Proof])))
def test_demands_of_both_are_met_by_what_meets_each(
    one: tuple[frozenset[Proof], ...], other: tuple[frozenset[Proof], ...], have: frozenset[Proof]
) -> None:
    """What two policies demand together is met exactly where each of them is met."""

    def met(alternatives: tuple[frozenset[Proof], ...]) -> bool:
        return not alternatives or any(proofs <= have for proofs in alternatives)

    assert met(both(one, other)) == (met(one) and met(other))


def test_every_pair_of_shipped_policies_goes_together_or_says_why() -> None:
    """Profiles may be combined by tokens and classes; a pair that cannot be met is a contradiction with its reason."""
    from registrar.policy.loader import shipped

    for one, other in itertools.permutations(shipped().values(), 2):
        try:
            assert Judge(merged(one, other), SCOPES).policy.name == f"{one.name} {other.name}"
        except Contradiction as problem:
            assert "contradict each other: " in str(problem)  # noqa: PT017 (either is well)
