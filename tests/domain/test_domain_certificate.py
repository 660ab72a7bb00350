"""Certificates of clients: what is read of one, whose name it bears, which chains are trusted, and what was revoked."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import certificate
from registrar.domain.certificate import CHAIN, Certificate, Unreadable, Untrusted, names_match
from registrar.testing.authority import NOT_AFTER, NOT_BEFORE, Authority, Issued

NOW: Final = 1_790_000_000
ROOT: Final = Authority("CN=Root,O=Trust,C=BR")
MIDDLE: Final = ROOT.intermediate()
KEY: Final = ec.generate_private_key(ec.SECP256R1())
BRAZIL: Final = (
    "UID=10120340-3318-4baf-99e2-0b56729c4ab2,jurisdictionCountry=BR,businessCategory=Private Organization,"
    "serialNumber=43142666000197,CN=Bank,OU=Unit,organizationIdentifier=OFBBR-d7384bd0-842f-43c5-be02-9d2b2d5efc2c,"
    "O=Open Banking,C=BR"
)


def bearing(subject: str) -> Certificate:
    """A certificate with this subject."""
    return certificate.read(ROOT.issue(subject, key=KEY).der)


def b64(octets: bytes) -> str:
    """base64url of the SHA-256."""
    return base64.urlsafe_b64encode(hashlib.sha256(octets).digest()).rstrip(b"=").decode()


def der_string(tag: int, text: str) -> str:
    """The hexadecimal form of an attribute's value (RFC 4514 §2.4)."""
    octets = text.encode()
    length = bytes([len(octets)]) if len(octets) < 128 else bytes([0x81, len(octets)])
    return "#" + (bytes([tag]) + length + octets).hex()


# --- reading ----------------------------------------------------------------------------------------------------------


def test_what_a_certificate_says() -> None:
    """Thumbprints, names, validity and every kind of alternative name, as OAuth writes them."""
    issued = MIDDLE.issue(
        "CN=client,O=Example",
        dns=["app.example", "*.example"],
        uri=["https://app.example/id"],
        ip=["192.0.2.1", "2001:db8:0:0::1"],
        email=["a@app.example"],
        not_before=NOW,
        not_after=NOW + 60,
    )
    found = certificate.read(issued.der)
    public = issued.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (found.thumbprint, found.public_key_thumbprint) == (b64(issued.der), b64(public))
    assert (found.subject, found.issuer) == ("CN=client,O=Example", "CN=Test intermediate")
    assert found.serial == issued.certificate.serial_number
    assert (found.dns, found.uri) == (("app.example", "*.example"), ("https://app.example/id",))
    assert (found.ip, found.email) == (("192.0.2.1", "2001:db8::1"), ("a@app.example",))
    assert found.der == issued.der
    valid = [found.valid_at(time) for time in (NOW - 1, NOW, NOW + 60, NOW + 61)]
    assert valid == [False, True, True, False]


def test_what_a_subject_says() -> None:
    """The attributes of a directory's certificate by their names, repeated ones in order, unknown ones dotted."""
    found = bearing(f"1.2.3.4=x,OU=Other,{BRAZIL}").attributes
    assert found["UID"] == ("10120340-3318-4baf-99e2-0b56729c4ab2",)
    assert found["organizationIdentifier"] == ("OFBBR-d7384bd0-842f-43c5-be02-9d2b2d5efc2c",)
    assert found["businessCategory"] == ("Private Organization",)
    assert found["jurisdictionCountry"] == ("BR",)
    assert found["serialNumber"] == ("43142666000197",)
    assert found["OU"] == ("Unit", "Other")
    assert found["1.2.3.4"] == ("x",)
    assert bearing("CN=a").attributes == {"CN": ("a",)}


def test_a_printed_certificate_names_nobody() -> None:
    """What prints the values of a traceback shows a thumbprint and no person."""
    found = certificate.read(ROOT.issue("CN=Ada Lovelace", email=["ada@example.com"]).der)
    assert repr(found) == f"Certificate('{found.thumbprint}')"


def test_one_key_has_one_thumbprint() -> None:
    """A renewed certificate is another, over the same key."""
    first, second = bearing("CN=a"), bearing("CN=a")
    assert first.public_key_thumbprint == second.public_key_thumbprint
    assert first.thumbprint != second.thumbprint


@pytest.mark.parametrize("key", ["EC", "RSA"])
def test_both_kinds_of_keys(key: str) -> None:
    """EC and RSA certificates are read and trusted alike."""
    issued = ROOT.issue(key=key)  # type: ignore[arg-type]  # a literal
    assert certificate.chain(issued.chain, [ROOT.der], NOW) == certificate.read(issued.der)


@given(st.binary(max_size=200))
def test_other_bytes_are_unreadable(octets: bytes) -> None:
    """Bytes that are no certificate are told so, and raise nothing else."""
    with pytest.raises(Unreadable):
        certificate.read(octets)


GOOD: Final = ROOT.issue("CN=client", dns=["app.example"], ip=["192.0.2.1"], key=KEY).der


def test_a_flipped_bit_is_read_or_unreadable() -> None:
    """A certificate with any bit changed is another certificate or none: no other exception, and no warning."""
    readable = 0
    for at in range(len(GOOD) * 8):
        changed = bytearray(GOOD)
        changed[at // 8] ^= 1 << at % 8
        with suppress(Unreadable):
            found = certificate.read(bytes(changed))
            assert found.thumbprint != b64(GOOD)
            names_match("CN=client", found)
            readable += 1
    assert readable > 1_000  # nearly all of it is names, numbers and a signature


def test_one_certificate_and_nothing_more() -> None:
    """What follows a certificate, or is missing of it, makes it unreadable; PEM is not DER."""
    for octets in (
        GOOD + b"\0",
        GOOD + GOOD,
        GOOD[:-1],
        x509.load_der_x509_certificate(GOOD).public_bytes(Encoding.PEM),
    ):
        with pytest.raises(Unreadable):
            certificate.read(octets)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "registered",
    [
        "CN=My  Client,OU=Å+L=Place,O=Example Ltd,C=GB",
        "cn=my client,ou=å+l=PLACE,o=EXAMPLE LTD,c=gb",
        "2.5.4.3=My Client,OU=Å+L=Place,O=Example Ltd,C=GB",
        r"CN=My\20Client,OU=\C3\85+L=Place,O=Example Ltd,C=GB",
        "CN=My Client,L=Place+OU=A\u030a,O=Example Ltd,C=GB",
        r"CN=\ \ My Client\ ,OU=Å+L=Place,O=Example Ltd,C=GB",
        f"CN={der_string(12, 'My Client')},OU={der_string(12, 'Å')}+L=Place,O={der_string(19, 'example ltd')},C=GB",
        "CN=\uff2d\uff59 Client,OU=Å+L=Place,O=Example\u00a0Ltd,C=GB",
        "CN=M\u00ady Client,OU=Å+L=Place,O=Example Ltd,C=GB",
    ],
)
def test_names_are_compared_as_names(registered: str) -> None:
    """Case, white space, escapes, hexadecimal, composition and the order within an RDN make no difference."""
    assert names_match(registered, bearing("CN=My Client,OU=Å+L=Place,O=Example  Ltd,C=GB"))


@pytest.mark.parametrize(
    "registered",
    [
        "",
        "CN=My Client",
        "O=Example,CN=My Client",
        "CN=My Client,O=Example,C=GB",
        "CN=My Client+O=Example",
        "CN=MyClient,O=Example",
        "OU=My Client,O=Example",
        "CN=My Client,O=Example,O=Example",
        "CN=My Client, O=Example",
        "CN=My Client,O=Example,",
        r"CN=My Client\,O=Example",
        "/O=Example/CN=My Client",
        "XY=My Client,O=Example",
        "CN=#0c094d7920436c69656e,O=Example",
        "CN=#0c094d7920436c69656e7z,O=Example",
        "CN=#,O=Example",
        "CN=#04094d7920436c69656e74,O=Example",
        "CN=#0c094d7920436c69656e74 x,O=Example",
        "nonsense",
        "\0",
    ],
)
def test_another_name_does_not_match(registered: str) -> None:
    """Another order, number or kind of attributes is another name; what is no name matches nothing and raises nothing."""
    assert not names_match(registered, bearing("CN=My Client,O=Example"))


def test_no_name_matches_nothing() -> None:
    """An empty registered name is not the name of a certificate without a subject."""
    assert not names_match("", bearing(""))


def test_names_in_the_hexadecimal_form() -> None:
    """Open Finance Brasil registers four attributes as `oid=#hex`; they are compared as the text that they hold."""
    hexadecimal = (
        "UID=10120340-3318-4baf-99e2-0b56729c4ab2,"
        f"1.3.6.1.4.1.311.60.2.1.3={der_string(19, 'BR')},2.5.4.15={der_string(12, 'Private Organization')},"
        f"2.5.4.5={der_string(19, '43142666000197')},CN=Bank,OU=Unit,"
        f"2.5.4.97={der_string(12, 'OFBBR-d7384bd0-842f-43c5-be02-9d2b2d5efc2c')},O=Open Banking,C=BR"
    )
    assert names_match(hexadecimal, bearing(BRAZIL))
    assert names_match(BRAZIL, bearing(BRAZIL))
    assert names_match(hexadecimal.upper().replace("#0C", "#0c"), bearing(BRAZIL))
    assert not names_match(hexadecimal.replace(der_string(19, "BR"), der_string(19, "PT")), bearing(BRAZIL))


def test_a_long_value_in_the_hexadecimal_form() -> None:
    """Also one whose length takes two octets."""
    text = "x" * 200
    assert names_match(f"O={der_string(12, text)}", bearing(f"O={text}"))


def test_an_escaped_comma_begins_no_attribute() -> None:
    """What looks like an attribute within a value stays part of the value."""
    value = r"a\,2.5.4.97=#0c0161"
    assert names_match(f"O={value}", bearing(f"O={value}"))
    assert bearing(f"O={value}").attributes == {"O": ("a,2.5.4.97=#0c0161",)}


TYPES: Final = [x509.ObjectIdentifier(oid) for oid in ("2.5.4.10", "2.5.4.11", "2.5.4.97", "1.2.3")]
TEXT: Final = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(st.sampled_from(TYPES), TEXT), min_size=1, max_size=4))
def test_a_subject_matches_itself(attributes: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    """The string of any certificate's subject, registered as it is, is that certificate's."""
    text = x509.Name([x509.NameAttribute(*one) for one in attributes]).rfc4514_string()
    assert names_match(text, bearing(text))


@given(st.text(max_size=60))
def test_no_text_breaks_the_comparison(text: str) -> None:
    """Whatever was registered, the answer is yes or no."""
    assert names_match(text, SOMEBODY) in (True, False)


SOMEBODY: Final = bearing("CN=somebody")


# --- trust ------------------------------------------------------------------------------------------------------------


def test_a_chain_to_an_anchor_is_trusted() -> None:
    """Over an intermediate authority, in whatever order the rest of the chain comes; the path ends at the anchor."""
    below = ROOT.intermediate("CN=Upper", path_length=1).intermediate("CN=Lower")
    leaf = below.issue("CN=client")
    first, *others = leaf.chain
    found = certificate.path([first, *reversed(others)], [Authority().der, ROOT.der], NOW)
    assert [one.subject for one in found] == ["CN=client", "CN=Lower", "CN=Upper", "CN=Root,O=Trust,C=BR"]
    assert certificate.chain(leaf.chain, [ROOT.der], NOW) == found[0]


@pytest.mark.parametrize("more", [{"usage": ()}, {"dns": ["a.example"]}, {"email": ["a@example.com"]}])
def test_no_usage_or_name_is_demanded(more: dict[str, tuple[str, ...]]) -> None:
    """A certificate for signing statements is neither a web server's nor a mail client's."""
    leaf = ROOT.issue("CN=client", **more)  # type: ignore[arg-type]  # as each case has it
    assert certificate.chain(leaf.chain, [ROOT.der], NOW).subject == "CN=client"


def under(issuer: Issued) -> Issued:
    """A certificate that somebody signed who is no authority."""
    fake = Authority()
    fake.own = issuer
    return fake.issue("CN=under")


UNTRUSTED: Final[dict[str, tuple[Callable[[], tuple[tuple[bytes, ...], list[bytes], int]], str]]] = {
    "nothing": (lambda: ((), [ROOT.der], NOW), "no certificate"),
    "no anchor": (lambda: (ROOT.issue().chain, [], NOW), "no authority is trusted"),
    "too long": (lambda: (ROOT.issue().chain * (CHAIN + 1), [ROOT.der], NOW), "at most"),
    "foreign": (lambda: (Authority().issue().chain, [ROOT.der], NOW), "trusted authority"),
    "same name": (lambda: (Authority("CN=Root,O=Trust,C=BR").issue().chain, [ROOT.der], NOW), "signature"),
    "gap": (lambda: (MIDDLE.issue().chain[:1], [ROOT.der], NOW), "trusted authority"),
    "expired": (lambda: (ROOT.issue(not_after=NOW - 1).chain, [ROOT.der], NOW), "not valid at"),
    "not yet": (lambda: (ROOT.issue(not_before=NOW + 1).chain, [ROOT.der], NOW), "not valid at"),
    "anchor expired": (lambda: (MIDDLE.issue(not_after=NOT_AFTER + 99).chain, [ROOT.der], NOT_AFTER + 9), "valid"),
    "before": (lambda: (MIDDLE.issue(not_before=NOT_BEFORE - 99).chain, [ROOT.der], NOT_BEFORE - 9), "valid"),
    "no authority": (lambda: (under(ROOT.issue("CN=leaf")).chain, [ROOT.der], NOW), "cA must be asserted"),
    "path length": (lambda: (MIDDLE.intermediate("CN=Below").issue().chain, [ROOT.der], NOW), "path length"),
    "authority": (lambda: ((MIDDLE.der,), [ROOT.der], NOW), "authority's own"),
    "root itself": (lambda: ((ROOT.der,), [ROOT.der], NOW), "authority's own"),
}


@pytest.mark.parametrize("why", UNTRUSTED)
def test_other_chains_are_not_trusted(why: str) -> None:
    """Each has its reason, and the reason names no subject."""
    made, reason = UNTRUSTED[why]
    presented, anchors, now = made()
    with pytest.raises(Untrusted, match=reason) as refusal:
        certificate.chain(presented, anchors, now)
    assert "CN=" not in str(refusal.value)


def test_a_chain_of_other_bytes_is_unreadable() -> None:
    """Anywhere in a chain, and among the anchors."""
    good = ROOT.issue().der
    for presented, anchors in (((b"x",), [ROOT.der]), ((good, b"x"), [ROOT.der]), ((good,), [b"x"])):
        with pytest.raises(Unreadable):
            certificate.chain(presented, anchors, NOW)


# --- revocation -------------------------------------------------------------------------------------------------------

LEAF: Final = MIDDLE.issue("CN=client")
OTHER: Final = MIDDLE.issue("CN=other")


def asked(*lists: bytes, issuer: Authority = MIDDLE, now: int = NOW) -> str:
    """Why the leaf was revoked, by these lists."""
    return certificate.revoked(certificate.read(LEAF.der), certificate.read(issuer.der), lists, now)


def test_a_list_tells_what_was_revoked() -> None:
    """The reason where the certificate is listed, nothing where the issuer's list does not have it."""
    assert asked(MIDDLE.crl()) == ""
    assert asked(MIDDLE.crl(OTHER)) == ""
    assert asked(MIDDLE.crl(OTHER, LEAF)) == "keyCompromise"
    assert asked(MIDDLE.crl(LEAF, reason=x509.ReasonFlags.superseded)) == "superseded"
    assert asked(ROOT.crl(), MIDDLE.crl(), MIDDLE.crl(LEAF)) == "keyCompromise"


@pytest.mark.parametrize(
    "made",
    [
        list,
        lambda: [ROOT.crl(LEAF)],
        lambda: [Authority("CN=Test intermediate").crl(LEAF)],
        lambda: [MIDDLE.crl(next_update=NOW - 1)],
        lambda: [MIDDLE.crl(LEAF, next_update=NOW - 1)],
        lambda: [MIDDLE.crl(this_update=NOW + 1)],
        lambda: [MIDDLE.crl(extensions=[x509.DeltaCRLIndicator(1)])],
    ],
)
def test_without_a_current_list_of_the_issuer_nobody_knows(made: Callable[[], list[bytes]]) -> None:
    """A stale, foreign, forged or partial list clears nobody: that is an error, not a no."""
    with pytest.raises(Untrusted, match="no current revocation list"):
        asked(*made())


def test_a_partial_list_can_revoke() -> None:
    """A list of changes names a certificate as well as a whole one does."""
    assert asked(MIDDLE.crl(LEAF, extensions=[x509.DeltaCRLIndicator(1)])) == "keyCompromise"


def test_only_the_issuer_is_asked() -> None:
    """Revocation is asked of the authority that signed the certificate."""
    with pytest.raises(Untrusted, match="not of this issuer"):
        asked(ROOT.crl(), issuer=ROOT)
    with pytest.raises(Unreadable):
        asked(b"x")
