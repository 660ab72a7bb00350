"""How a client is shown to a person: what it claims, who vouches for it, and who let it in."""

from __future__ import annotations

from typing import Any

import pytest

from registrar.domain.client import Admission, Assurance, Client, State
from registrar.domain.credentials import Credentials
from registrar.domain.metadata import Registered
from registrar.domain.redirect_uri import Kind
from registrar.policy.rules import identity
from registrar.web.portrait import Attested, Portrait, destination, portrait

METADATA = {
    "client_name": "Reader",
    "logo_uri#ja": "https://app.example/ja.png",
    "policy_uri": "https://legal.example/privacy",
    "redirect_uris": ["https://app.example/cb"],
}


def shown(
    admission: Admission,
    provenance: dict[str, str] | None = None,
    metadata: dict[str, Any] | None = None,
    flags: tuple[str, ...] = (),
    **how: Any,
) -> Portrait:
    """A client as it is shown."""
    client = Client(
        issuer="main",
        client_id="c1",
        version=1,
        state=State.ACTIVE,
        created_at=1_790_000_000,
        updated_at=1_790_000_000,
        metadata=Registered(METADATA if metadata is None else metadata),
        credentials=Credentials(),
        admission=admission,
        policy="default",
        provenance=provenance or {},
        flags=flags,
    )
    return portrait(client, ("ja",), issuer="https://as.example/as", **how)


def test_an_unchecked_client_says_so() -> None:
    """All that it says is its own claim, and it registered itself."""
    told = shown(Admission(Assurance.OPEN))
    assert not told.verified
    assert told.self_registered
    assert told.registered_by == "itself; nobody was asked"
    assert told.claimed == ("its name", "its logo", "its privacy policy")
    assert told.attested == ()


@pytest.mark.requirement("SEED-72")
def test_attested_members_are_told_from_claims() -> None:
    """Who vouches is named, with what they vouch for; the rest stays a claim."""
    told = shown(Admission(Assurance.CLIENT), {"client_name": "attested:Example Directory", "scope": "policy"})
    assert told.verified
    assert told.attested[0] == Attested("Example Directory", ("its name",))
    assert told.claimed == ("its logo", "its privacy policy")


@pytest.mark.parametrize(
    ("admission", "said"),
    [
        (Admission(Assurance.OPERATOR, label="fleet"), "the operator of this service (fleet)"),
        (Admission(Assurance.CLIENT), "itself, with a credential of its maker"),
        (Admission(Assurance.USER, owner="p.me"), "you"),
        (Admission(Assurance.USER, owner="p.you"), "Carol"),
    ],
)
def test_who_registered_it_is_told(admission: Admission, said: str) -> None:
    """In words that a person understands."""
    assert shown(admission, viewer="p.me", owner="Carol").registered_by == said


@pytest.mark.requirement("R7591-64")
@pytest.mark.parametrize(
    ("uri", "verified"),
    [
        ("", True),
        ("https://app.example/cb", True),
        ("http://127.0.0.1:1/cb", False),
        ("http://localhost/cb", False),
        ("com.example.app:/cb", False),
        ("https://localhost/cb", False),
        ("https://LOCALHOST:8443/cb", False),
        ("https://127.0.0.1/cb", False),
        ("https://127.9.9.9/cb", False),
        ("https://[::1]/cb", False),
        ("https://[::ffff:127.0.0.1]/cb", False),
        ("https://0.0.0.0/cb", False),
        ("https://app.localhost/cb", False),
        ("https://localhost.localdomain/cb", False),
        ("https://localhost.example/cb", True),
    ],
)
def test_nobody_is_verified_on_this_machine(uri: str, verified: bool) -> None:
    """Whoever vouches for the name: what answers on loopback, or to an app's own scheme, may be any program."""
    for told in (
        shown(Admission(Assurance.OPERATOR), uri=uri),
        shown(Admission(Assurance.CLIENT), {"client_name": "attested:Example Directory"}, uri=uri),
    ):
        assert told.vouched
        assert told.verified is verified
    assert not shown(Admission(Assurance.OPEN), uri=uri).verified


def test_every_flag_has_words_for_people() -> None:
    """None of what is found odd is kept from the person who decides."""
    for flag in identity.FLAGS:
        assert shown(Admission(Assurance.OPEN), flags=(flag,)).cautions, flag


def test_a_logo_is_shown_by_this_server_alone() -> None:
    """In the language that was chosen; no page sends a browser to the client's host."""
    told = shown(Admission(Assurance.OPEN))
    assert told.logo == "/as/logo/c1?language=ja"
    assert [(link.label, link.host) for link in told.links] == [("Privacy policy", "legal.example")]


@pytest.mark.requirement("R7591-11")
def test_a_client_without_a_name_has_none() -> None:
    """Its identifier is shown, and nothing is made up."""
    told = shown(Admission(Assurance.OPEN), metadata={})
    assert told.name is None
    assert told.title.value == "c1"


@pytest.mark.parametrize(
    ("uri", "kind", "said"),
    [
        ("https://app.example:8443/cb", Kind.HTTPS, "app.example"),
        ("http://[::1]:1/cb", Kind.LOOPBACK, "[::1]"),
        ("cursor://anysphere/cb", Kind.PRIVATE_USE, "cursor"),
    ],
)
def test_where_the_answer_goes_is_told(uri: str, kind: Kind, said: str) -> None:
    """A host, or the scheme of an app."""
    place = destination(uri)
    assert place is not None
    assert (place.kind, place.shown) == (kind, said)


def test_an_application_is_opened_where_it_says() -> None:
    """OpenID Connect Core §4: its own address for that, with the issuer."""
    told = shown(Admission(Assurance.OPEN), metadata={"initiate_login_uri": "https://app.example/go?x=1"})
    assert told.opens == "https://app.example/go?x=1&iss=https%3A%2F%2Fas.example%2Fas"
    assert shown(Admission(Assurance.OPEN)).opens == ""
