"""Key sets by value: only public, whole and distinct keys are registered."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import JWKRegistry

from registrar.domain import jwks
from registrar.domain.findings import RULES

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def b64(number: int, length: int = 0) -> str:
    """A number as JWK members carry it."""
    octets = number.to_bytes(length or (number.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


MODULUS = RSA_KEY.public_key().public_numbers().n
POINT = EC_KEY.public_key().public_numbers()
RSA: dict[str, Any] = {"kty": "RSA", "n": b64(MODULUS), "e": "AQAB"}
EC: dict[str, Any] = {"kty": "EC", "crv": "P-256", "x": b64(POINT.x, 32), "y": b64(POINT.y, 32)}
OKP: dict[str, Any] = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": base64.urlsafe_b64encode(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    .rstrip(b"=")
    .decode(),
}


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """A self-signed certificate for a key, in DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "client")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
    signed = builder.not_valid_after(dt.datetime(2045, 1, 1, tzinfo=dt.UTC)).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


RSA_CERTIFICATE, EC_CERTIFICATE = certificate(RSA_KEY), certificate(EC_KEY)


def x5c(der: bytes) -> list[str]:
    """A certificate as x5c carries it."""
    return [base64.b64encode(der).decode()]


def altered(der: bytes, old: str, new: str) -> bytes:
    """A certificate with one field altered, at the same length."""
    before, after = bytes.fromhex(old), bytes.fromhex(new)
    assert len(before) == len(after)
    assert before in der
    return der.replace(before, after)


def rules(*keys: Any) -> list[str]:
    """The rules that the set of these keys breaks."""
    return [fault.rule.removeprefix("jwks.") for fault in jwks.judge({"keys": list(keys)})]


@pytest.mark.requirement("META-13", "R7591-17")
@pytest.mark.parametrize(
    "key",
    [
        RSA,
        EC,
        OKP,
        {**RSA, "use": "sig", "kid": "1", "alg": "RS256", "key_ops": ["verify"], "x5t": "x", "ext": True},
        {**RSA, "x5c": x5c(RSA_CERTIFICATE)},
        {**RSA, "x5c": [*x5c(RSA_CERTIFICATE), "what follows is the issuer's business"]},
        {**EC, "x5c": x5c(EC_CERTIFICATE)},
        {**OKP, "kid": ""},
    ],
    ids=["rsa", "ec", "okp", "parameters", "certificate", "chain", "ec certificate", "empty kid"],
)
def test_public_keys(key: dict[str, Any]) -> None:
    """Public keys of each type are accepted, with any known parameter and a certificate of their own."""
    assert rules(key) == []


CASES: list[tuple[str, dict[str, Any]]] = [
    *(("private", {**RSA, name: "AQAB"}) for name in ("d", "p", "q", "dp", "dq", "qi", "oth")),
    ("private", {**EC, "d": b64(EC_KEY.private_numbers().private_value, 32)}),
    ("private", {**OKP, "d": "x"}),
    ("private", {"kty": "oct", "k": "c2VjcmV0"}),
    ("private", {"kty": "RSA", "d": None}),
    ("private", {"kty": "AKP", "priv": "x"}),
    ("symmetric", {"kty": "oct"}),
    ("kty", {}),
    ("kty", {"kty": 1}),
    ("kty", {"kty": ["RSA"]}),
    ("kty", {**RSA, "kty": "rsa"}),
    ("kty", {"kty": "AKP"}),
    ("parameter", {**RSA, "kid": 1}),
    ("parameter", {**RSA, "use": ["sig"]}),
    ("parameter", {**RSA, "alg": None}),
    ("parameter", {**RSA, "x5t": 1}),
    ("parameter", {**RSA, "x5t#S256": 1}),
    ("parameter", {**RSA, "x5u": {}}),
    ("parameter", {**RSA, "key_ops": "verify"}),
    ("parameter", {**RSA, "x5c": "abc"}),
    ("parameter", {**RSA, "x5c": [1]}),
    ("material", {"kty": "RSA", "e": "AQAB"}),
    ("material", {"kty": "RSA", "n": RSA["n"]}),
    ("material", {**RSA, "n": 12345}),
    ("material", {**RSA, "n": ""}),
    ("material", {**RSA, "n": RSA["n"] + "="}),
    ("material", {**RSA, "n": "+" + RSA["n"][1:]}),
    ("material", {**RSA, "n": "/" + RSA["n"][1:]}),
    ("material", {**RSA, "n": RSA["n"] + "\n"}),
    ("material", {**RSA, "n": "é" * 400}),
    ("material", {**RSA, "n": b64(MODULUS - 1)}),
    ("material", {**RSA, "e": "AQ"}),
    ("material", {**RSA, "e": "Ag"}),
    ("material", {**EC, "y": b64(POINT.y ^ 1, 32)}),
    ("material", {**EC, "x": "A"}),
    ("material", {**EC, "crv": "P-521"}),
    ("material", {**EC, "crv": "P-257"}),
    ("material", {**EC, "crv": 256}),
    ("material", {**EC, "x": b64(0, 32), "y": b64(0, 32)}),
    ("material", {"kty": "EC", "x": EC["x"], "y": EC["y"]}),
    ("material", {**OKP, "x": "AAAA"}),
    ("material", {**OKP, "crv": "P-256"}),
    ("material", {"kty": "OKP", "crv": "Ed25519"}),
    ("size", {**RSA, "n": b64(2**2046 + 1)}),
    ("size", {**RSA, "n": b64(2**511 + 1)}),
    ("size", {**RSA, "n": b64(2**16384 + 1)}),
    ("x5c", {**RSA, "x5c": x5c(EC_CERTIFICATE)}),
    ("x5c", {**RSA, "x5c": x5c(certificate(rsa.generate_private_key(65537, 2048)))}),
    ("x5c", {**RSA, "x5c": []}),
    ("x5c", {**RSA, "x5c": ["AAAA"]}),
    ("x5c", {**RSA, "x5c": ["not base64!"]}),
    ("x5c", {**RSA, "x5c": ["é"]}),
    ("x5c", {**RSA, "x5c": x5c(altered(RSA_CERTIFICATE, "a003020102", "a003020109"))}),
    ("x5c", {**RSA, "x5c": x5c(altered(RSA_CERTIFICATE, "06092a864886f70d010101", "06092a864886f70d01017f"))}),
    ("x5c", {**EC, "x5c": x5c(altered(EC_CERTIFICATE, "06082a8648ce3d030107", "06082a8648ce3d03017f"))}),
]


@pytest.mark.requirement("META-13", "R7591-17", "OIDC-13", "OIDC-14")
@pytest.mark.parametrize(("rule", "key"), CASES)
def test_faulty_keys(rule: str, key: dict[str, Any]) -> None:
    """A key that is private, symmetric, broken, short or certified for another key is refused, and named by its place."""
    faults = jwks.judge({"keys": [OKP, key]})

    assert [(fault.rule, fault.member, fault.error) for fault in faults] == [
        (f"jwks.{rule}", "jwks.keys[1]", "invalid_client_metadata")
    ]
    assert "{" not in faults[0].reason + faults[0].accepted


@pytest.mark.requirement("OIDC-14")
def test_private_members_are_named_not_repeated() -> None:
    """The refusal says which members are private and repeats none of their values."""
    secret = b64(EC_KEY.private_numbers().private_value, 32)
    (fault,) = jwks.judge({"keys": [{**EC, "d": secret, "k": "c2VjcmV0"}]})

    assert "(d, k)" in fault.reason
    assert secret not in str(fault)
    assert "c2VjcmV0" not in str(fault)


@pytest.mark.requirement("R7591-17")
@pytest.mark.parametrize(
    "value", [None, "x", 1, [], {}, {"keys": {}}, {"keys": []}, {"keys": None}, {"keys": ["x"]}, {"keys": [RSA, None]}]
)
def test_what_is_no_set(value: Any) -> None:
    """A set is an object with a non-empty array of objects."""
    assert [fault.rule for fault in jwks.judge(value)] == ["jwks.shape"]


def test_number_of_keys() -> None:
    """A set holds at most 32 keys; more are refused before any is looked at."""
    assert rules(*[OKP] * jwks.KEYS) == []
    assert rules(*[{}] * (jwks.KEYS + 1)) == ["count"]


def test_kid_twice() -> None:
    """Keys are told apart by their kid, where they have one."""
    assert rules({**RSA, "kid": "1"}, {**EC, "kid": "1"}, {**OKP, "kid": "2"}) == ["kid"]
    assert rules({**RSA, "kid": "1"}, EC, OKP) == []
    assert jwks.judge({"keys": [{**RSA, "kid": "1"}, {**EC, "kid": "1"}]})[0].member == "jwks.keys[1]"


@pytest.mark.requirement("OIDC-12")
def test_use_in_a_mixed_set() -> None:
    """Where some keys sign and some encrypt, each says which."""
    signing, encrypting = {**RSA, "use": "sig"}, {**EC, "use": "enc"}

    assert rules(signing, encrypting, OKP) == ["use"]
    assert rules(signing, encrypting, {**OKP, "use": "sig"}) == []
    assert rules(signing, OKP) == []
    assert rules(encrypting, OKP) == []


def test_every_fault_at_once() -> None:
    """Each faulty key is reported; the set as a whole is looked at only when its keys are sound."""
    assert rules({"kty": "oct"}, {**RSA, "kid": "1"}, {**RSA, "kid": "1"}, {**RSA, "d": "x"}) == [
        "symmetric",
        "private",
    ]


def test_every_rule_is_reached() -> None:
    """The tests of this file leave out no rule about key sets."""
    reached = {rule for rule, _ in CASES} | {"shape", "count", "kid", "use"}

    assert {name.removeprefix("jwks.") for name in RULES if name.startswith("jwks.")} == reached


def test_thumbprint_of_the_standard() -> None:
    """The example of RFC 7638 §3.1 has the thumbprint that stands there."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhM"
        "stn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL"
        "5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}

    assert jwks.judge({"keys": [key]}) == []
    assert jwks.thumbprints({"keys": [key]}) == ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]


@pytest.mark.requirement("SEED-65")
def test_thumbprints() -> None:
    """Thumbprints depend on the key alone, not on what else the JWK says, and equal joserfc's own."""
    assert jwks.thumbprints({"keys": [{**RSA, "use": "sig"}, EC, {**OKP, "kid": "x"}]}) == [
        JWKRegistry.import_key(key).thumbprint() for key in (RSA, EC, OKP)
    ]


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from([*RSA.values(), *EC.values()])
)
_names = st.sampled_from(["kty", "n", "e", "crv", "x", "y", "use", "kid", "x5c", "key_ops", "alg", "d", "keys"])
_kty = st.sampled_from(["RSA", "EC", "OKP", "oct"])
_keys = st.builds(
    lambda members, kty: {"kty": kty, **members},
    st.dictionaries(_names, st.one_of(_scalars, st.lists(_scalars, max_size=2))),
    _kty,
)


@given(
    st.one_of(
        _scalars, st.builds(lambda keys: {"keys": keys}, st.one_of(_scalars, st.lists(st.one_of(_keys, _scalars))))
    )
)
def test_judge_is_total(value: Any) -> None:
    """Whatever is sent, the judgement ends in findings, and what is accepted has thumbprints."""
    if not jwks.judge(value):
        assert len(jwks.thumbprints(value)) == len(value["keys"])


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.lists(st.tuples(st.integers(0, len(RSA_CERTIFICATE) - 1), st.integers(0, 255)), max_size=3))
def test_any_certificate_is_survived(edits: list[tuple[int, int]]) -> None:
    """A certificate with arbitrary bytes changed is judged, never a crash."""
    der = bytearray(RSA_CERTIFICATE)
    for at, octet in edits:
        der[at] = octet

    assert set(rules({**RSA, "x5c": x5c(bytes(der))})) <= {"x5c"}
