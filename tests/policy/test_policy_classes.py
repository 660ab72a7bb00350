"""Classes of clients: which facts make a client one of them, with what they are admitted, and how they are written."""

from __future__ import annotations

from typing import Any

import pytest

from registrar.domain.client import Assurance
from registrar.domain.software_statement import Attestation
from registrar.policy import Facts, classes
from registrar.policy.classes import ClientClass, assigned
from registrar.policy.document import ConfigurationError, Document
from registrar.policy.evidence import Proof, demanded
from registrar.policy.loader import shipped as policies

STATEMENT = Attestation("directory", "https://d.example", "compact", "digest", {}, {}, {}, "s-1")
OPEN = Facts(Assurance.OPEN)
SHIPPED = list(classes.shipped().values())


def loaded(text: str) -> ClientClass:
    """The class of a text."""
    document = Document("test", f"[class.mine]\n{text}")
    return classes.load("mine", document.data["class"]["mine"], policies(), document)


def name_of(facts: Facts) -> str:
    """The shipped class of these facts, of all in the order of their table."""
    found = assigned(SHIPPED, facts)
    return found.name if found else ""


@pytest.mark.requirement("SEED-82", "SEED-61")
@pytest.mark.parametrize(
    ("facts", "name", "ways"),
    [
        (OPEN, "anonymous", [set()]),
        (Facts(Assurance.CLIENT, token_id="t"), "application", [{"initial_access_token"}]),
        (Facts(Assurance.USER, token_id="t", owner="ann"), "personal", [{"initial_access_token"}]),
        (Facts(Assurance.STATEMENT, statement=STATEMENT), "attested", [{"statement"}]),
        (Facts(Assurance.OPERATOR, token_id="t"), "operated", [{"initial_access_token"}]),
        (
            Facts(Assurance.OPERATOR, token_id="t", token_scope=("dcr:ephemeral",)),
            "ephemeral",
            [{"initial_access_token"}],
        ),
        (Facts(Assurance.CLIENT, token_id="t", token_scope=("read",)), "application", [{"initial_access_token"}]),
    ],
)
def test_the_classes_that_ship(facts: Facts, name: str, ways: list[set[str]]) -> None:
    """The table of classes: what makes a client one of each, when the door is open, and what is mandatory."""
    found = classes.shipped()[name]

    assert name_of(facts) == name
    assert [set(one) for one in found.admission] == ways
    assert found.description
    assert [*demanded(found.admission, facts)] == []
    assert set(found.policies) <= set(policies())


def test_a_claim_makes_no_class() -> None:
    """No fact of a class is a member of client metadata: what a client says of itself changes nothing."""
    assert set(classes.When.__dataclass_fields__) <= {*Facts.__struct_fields__, "statement_issuer"}


WHENS: list[tuple[str, Facts, Facts]] = [
    ("{ assurance = ['user', 'operator'] }", Facts(Assurance.OPERATOR), Facts(Assurance.STATEMENT)),
    ("{ token_label = ['ci'] }", Facts(Assurance.CLIENT, token_label="ci"), Facts(Assurance.CLIENT, token_label="CI")),
    ("{ token_scope = ['dcr:a', 'dcr:b'] }", Facts(Assurance.OPEN, token_scope=("dcr:b", "dcr:a")), Facts(Assurance.OPEN, token_scope=("dcr:a",))),
    ("{ owner = ['ann'] }", Facts(Assurance.USER, owner="ann"), Facts(Assurance.USER, owner="bob")),
    ("{ statement_issuer = ['directory'] }", Facts(Assurance.STATEMENT, statement=STATEMENT), OPEN),
    ("{ statement = false, certificate = false }", OPEN, Facts(Assurance.STATEMENT, statement=STATEMENT)),
    ("{ certificate = true }", Facts(Assurance.OPEN, certificate=object()), OPEN),  # type: ignore[arg-type]  # only that there is one
    ("{ owner = ['ann'], token_label = ['ci'] }", Facts(Assurance.USER, owner="ann", token_label="ci"), Facts(Assurance.USER, owner="ann")),
]  # fmt: skip


@pytest.mark.parametrize(("when", "holds", "fails"), WHENS)
def test_when(when: str, holds: Facts, fails: Facts) -> None:
    """All facts that are listed must hold, each by one of its values; scopes of the token all together."""
    found = loaded(f"when = {when}\nadmission = ['open']")

    assert found.when.holds(holds)
    assert not found.when.holds(fails)
    assert loaded("admission = ['open']").when.holds(fails)


@pytest.mark.requirement("SEED-82")
def test_ways_of_admission_alone_and_combined() -> None:
    """Each way is enough by itself, those joined by + only together, and the open door needs nothing."""
    found = loaded("admission = ['statement+certificate', 'initial_access_token+certificate+statement']")
    either = loaded("admission = ['initial_access_token', 'statement']")
    opened = loaded("admission = ['statement', 'open']")
    token = Facts(Assurance.CLIENT, token_id="t")
    half = Facts(Assurance.STATEMENT, statement=STATEMENT)

    assert [*demanded(either.admission, token)] == [*demanded(either.admission, half)] == []
    assert [one.rule for one in demanded(found.admission, half)] == ["evidence.certificate"]
    assert len([*demanded(found.admission, OPEN)]) == 2
    assert len([*demanded(either.admission, OPEN)]) == 1
    assert [*demanded(opened.admission, OPEN)] == []


@pytest.mark.requirement("SEED-82")
@pytest.mark.parametrize(
    ("lists", "claimed", "facts", "known"),
    [
        ("software = ['s-1']", "", Facts(Assurance.STATEMENT, statement=STATEMENT), True),
        ("software = ['s-2']", "s-2", Facts(Assurance.STATEMENT, statement=STATEMENT), False),
        ("software = ['s-1']", "s-1", OPEN, False),
        ("software = ['s-1']", "s-1", Facts(Assurance.CLIENT, token_id="t"), True),
        ("software = ['s-1']", "s-2", Facts(Assurance.CLIENT, token_id="t"), False),
        ("owners = ['ann']", "x", Facts(Assurance.USER, token_id="t", owner="ann"), True),
        ("owners = ['ann']", "x", Facts(Assurance.USER, token_id="t", owner="bob"), False),
        ("owners = ['ann']", "x", OPEN, False),
        ("owners = ['ann']\nsoftware = ['s-1']", "s-1", Facts(Assurance.USER, token_id="t", owner="ann"), True),
        ("owners = ['ann']\nsoftware = ['s-1']", "s-2", Facts(Assurance.USER, token_id="t", owner="ann"), False),
    ],
)
def test_preregistered(lists: str, claimed: str, facts: Facts, known: bool) -> None:
    """Software is known where a statement attests it or a token stands behind it; a bare claim is nobody's."""
    assert loaded(f"admission = ['preregistered']\n{lists}").knows(claimed, facts) is known


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (1, "needs its admission", ""),
        (2, "needs its admission", "admission = []"),
        (2, "admission is a list of strings", "admission = 'open'"),
        (2, "hope is no proof; these are: initial_access_token, ", "admission = ['hope']"),
        (2, "open is no proof", "admission = ['open+statement']"),
        (3, "a class has no kind; it takes", "admission = ['open']\nkind = 'x'"),
        (2, "description is text", "description = 3\nadmission = ['open']"),
        (3, "when is a table", "admission = ['open']\nwhen = 'always'"),
        (3, "when has no client_name; it takes", "admission = ['open']\nwhen = { client_name = ['x'] }"),
        (3, "certificate is true or false", "admission = ['open']\nwhen = { certificate = 'yes' }"),
        (3, "owner is a non-empty list", "admission = ['open']\nwhen = { owner = [] }"),
        (3, "owner is a list of strings", "admission = ['open']\nwhen = { owner = 'ann' }"),
        (3, "root is no assurance; these are: open", "admission = ['open']\nwhen = { assurance = ['root'] }"),
        (3, "there is no policy zzz; these are: ", "admission = ['open']\npolicy = ['zzz']"),
        (2, "preregistered and the lists", "admission = ['preregistered']"),
        (2, "preregistered and the lists", "admission = ['open']\nsoftware = ['x']"),
    ],
)
def test_refused_classes(line: int, reason: str, text: str) -> None:
    """A class that is not understood or could never be met is refused at load, with the line."""
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)

    assert reason in caught.value.reason
    assert caught.value.line == line


def test_a_class_cannot_say_how_requests_are_read() -> None:
    """Requests and statements are read before the class is known, so a policy that says how belongs elsewhere."""
    text = 'registration.authentication = ["statement"]\nrequest.signed = "required"'
    document = Document("test", f"[class.mine]\nadmission = ['open']\npolicy = ['signed']\n[policy.signed]\n{text}")
    from registrar.policy.loader import load

    known: dict[str, Any] = {"signed": load("signed", document.data["policy"]["signed"], document, "policy", "signed")}
    with pytest.raises(ConfigurationError, match="before a class is known"):
        classes.load("mine", document.data["class"]["mine"], known, document)
    assert Proof.STATEMENT in known["signed"].proofs[0]
