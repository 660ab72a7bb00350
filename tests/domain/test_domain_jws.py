"""Compact JWS: how strictly they are read, what verifies them, and what their times and audiences allow."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws as jose
from joserfc.jwk import JWKRegistry

from registrar.domain.jws import (
    ALGORITHMS,
    Malformed,
    Refused,
    UnknownKey,
    UnverifiedJWS,
    check_audience,
    check_times,
    read,
    verify,
)

NOW = 1_790_000_000
CLAIMS = {"iss": "https://directory.example", "software_id": "4NRB1-0XZABZI9E6-5SM3R"}


@cache
def key(kty: str, size: Any) -> Any:
    """A key of its own for each kind; made once."""
    return JWKRegistry.generate_key(kty, size, {"kid": f"{kty}-{size}"})


def key_for(algorithm: str) -> Any:
    """A key that fits an algorithm."""
    row = ALGORITHMS[algorithm]
    return key(row.kty, row.curve or (row.key_bytes * 8 or 2048))


def public(made: Any, **members: Any) -> dict[str, Any]:
    """What others have of a key: for a symmetric one, all of it."""
    return {**made.as_dict(private=made.key_type == "oct"), **members}


def text(value: Any) -> str:
    """Base64url of JSON, or of bytes as they are."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(algorithm: str, claims: Any = CLAIMS, made: Any = None, **header: Any) -> str:
    """A compact JWS, signed with joserfc's own signer; claims may be bytes, and the header anything."""
    made = made or key_for(algorithm)
    model = jose.JWSRegistry.algorithms[algorithm]
    members = {"alg": algorithm, "kid": made.kid, **header}
    signing_input = f"{text({name: value for name, value in members.items() if value is not None})}.{text(claims)}"
    return f"{signing_input}.{text(model.sign(signing_input.encode(), made))}"


def unsigned(header: Any, claims: Any = CLAIMS, signature: bytes = b"signature") -> str:
    """A compact JWS with a signature that is none."""
    return f"{text(header)}.{text(claims)}.{text(signature)}"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_verifies_what_its_key_signed(algorithm: str) -> None:
    """With a kid and without, where the caller allows the algorithm; the claims are those that were signed."""
    keys = [public(key_for(algorithm))]

    assert verify(read(signed(algorithm)), keys, [algorithm]).claims == CLAIMS
    assert verify(read(signed(algorithm, kid=None)), keys, [algorithm]).claims == CLAIMS


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_no_algorithm_verifies_what_was_altered(algorithm: str) -> None:
    """Other claims under the same signature, and another signature over the same claims."""
    head, _, signature = signed(algorithm).split(".")
    other = signed(algorithm, {"iss": "https://evil.example"}).split(".")[2]
    for compact in (f"{head}.{text({'iss': 'https://evil.example'})}.{signature}", f"{head}.{text(CLAIMS)}.{other}"):
        with pytest.raises(Refused, match="signature"):
            verify(read(compact), [public(key_for(algorithm))], [algorithm])


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_an_algorithm_that_is_not_allowed(algorithm: str) -> None:
    """What a key could verify counts for nothing where the caller does not allow the algorithm."""
    allowed = set(ALGORITHMS) - {algorithm}
    with pytest.raises(Refused, match="alg"):
        verify(read(signed(algorithm)), [public(key_for(algorithm))], allowed)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS1", "RS256 ", "ES256K"])
def test_none_is_no_algorithm(name: str) -> None:
    """Neither in any spelling, nor when a caller allows it by mistake."""
    for signature in (b"", b"signature"):
        with pytest.raises((Refused, Malformed)):
            verify(read(unsigned({"alg": name}, signature=signature)), [public(key("RSA", 2048))], [name, "RS256"])


@pytest.mark.parametrize("form", ["PEM", "DER", "n"])
def test_a_public_key_is_never_a_secret(form: str) -> None:
    """An HMAC keyed with the bytes of the issuer's RSA key is refused, also where HS256 is allowed."""
    rsa = key("RSA", 2048)
    secret = {"PEM": rsa.as_pem(private=False), "DER": rsa.as_der(private=False), "n": rsa.as_dict()["n"].encode()}[
        form
    ]
    signing_input = f"{text({'alg': 'HS256', 'kid': rsa.kid})}.{text(CLAIMS)}"
    compact = f"{signing_input}.{text(hmac.digest(secret, signing_input.encode(), 'sha256'))}"
    for keys in ([public(rsa)], [public(rsa, k=text(secret))]):
        with pytest.raises(Refused, match="not one for HS256"):
            verify(read(compact), keys, ["HS256", "RS256"])


def test_a_foreign_kid() -> None:
    """A kid that the issuer does not have is told apart, because a newer key set may have it."""
    mine, theirs = key("RSA", 2048), JWKRegistry.generate_key("RSA", 2048, {"kid": "theirs"})
    with pytest.raises(UnknownKey):
        verify(read(signed("RS256", made=theirs)), [public(mine)], ["RS256"])
    with pytest.raises(Refused, match="signature") as refused:
        verify(read(signed("RS256", made=theirs, kid=mine.kid)), [public(mine)], ["RS256"])
    assert not isinstance(refused.value, UnknownKey)


def test_several_keys_of_one_kid_are_each_tried() -> None:
    """A set that repeats a kid, as some do while they rotate, still verifies; with too many of them, none is tried."""
    right, wrong = key("RSA", 2048), JWKRegistry.generate_key("RSA", 2048)
    keys = [public(wrong, kid="one"), public(key("EC", "P-256"), kid="one"), public(right, kid="one")]

    assert verify(read(signed("PS256", kid="one")), keys, ["PS256"]).kid == "one"
    with pytest.raises(Refused, match="more than 8"):
        verify(read(signed("PS256", kid="one")), keys * 5, ["PS256"])


def test_without_a_kid_one_key_must_fit() -> None:
    """Of two that fit, none is guessed; one of another type does not count."""
    first, second, other = key("RSA", 2048), JWKRegistry.generate_key("RSA", 2048), key("EC", "P-256")
    compact = signed("RS256", kid=None)

    assert verify(read(compact), [public(first), public(other)], ["RS256"]).kid is None
    for keys in ([public(first), public(second)], [public(other)], []):
        with pytest.raises(UnknownKey):
            verify(read(compact), keys, ["RS256"])


@pytest.mark.parametrize(
    "members", [{"use": "enc"}, {"alg": "PS256"}, {"alg": None}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}]
)
def test_a_key_for_something_else(members: dict[str, Any]) -> None:
    """A key that says what it is for is used for nothing else (RFC 7517 §4.2 to §4.4)."""
    with pytest.raises(Refused, match="not one for RS256"):
        verify(read(signed("RS256")), [public(key("RSA", 2048), **members)], ["RS256"])


@pytest.mark.parametrize(
    ("algorithm", "broken"),
    [
        ("RS256", {"n": text(b"\x80" + b"\x01" * 127)}),  # 1024 bits
        ("RS256", {"n": text(b"\0" * 200 + b"\x80" + b"\x01" * 127)}),  # 1024 bits, padded
        ("RS256", {"n": text(b"\x7f" + b"\x01" * 255)}),  # 2047 bits
        ("RS256", {"n": 5}),
        ("RS256", {"n": "*"}),
        ("RS256", {"e": "AA"}),
        ("ES256", {"x": text(b"\x01" * 32)}),
        ("ES256", {"x": None}),
        ("EdDSA", {"x": "AA"}),
        ("HS256", {"k": text(b"short")}),
        ("HS512", {"k": text(b"x" * 63)}),
    ],
)
def test_a_weak_or_broken_key_verifies_nothing(algorithm: str, broken: dict[str, Any]) -> None:
    """Short keys and numbers that are no key are refused, whatever the library would do with them."""
    with pytest.raises(Refused, match="signature"):
        verify(read(signed(algorithm)), [public(key_for(algorithm), **broken)], [algorithm])


def test_a_curve_of_another_algorithm() -> None:
    """ES256 is for P-256 alone, and EdDSA for Ed25519 alone."""
    for algorithm, made in (("ES256", key("EC", "P-384")), ("EdDSA", key("OKP", "Ed448"))):
        with pytest.raises(Refused, match="not one for"):
            verify(read(unsigned({"alg": algorithm, "kid": made.kid})), [public(made)], [algorithm])


def test_keys_that_a_token_brings_along_are_not_used() -> None:
    """`jwk`, `jku`, `x5u` and `x5c` in the header are data: the signature is checked with the issuer's keys alone."""
    evil = JWKRegistry.generate_key("RSA", 2048, {"kid": "evil"})
    brought = {
        "jwk": public(evil),
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/x5u",
        "x5c": ["MII"],
    }
    for kid in ("evil", key("RSA", 2048).kid):
        with pytest.raises(Refused):
            verify(read(signed("RS256", made=evil, kid=kid, **brought)), [public(key("RSA", 2048))], ["RS256"])

    honest = verify(read(signed("RS256", **brought)), [public(key("RSA", 2048))], ["RS256"])
    assert honest.header["x5c"] == ["MII"]


# --- reading -----------------------------------------------------------------------------------------------------------

DEEP = b'{"a":' * 70 + b"1" + b"}" * 70


@pytest.mark.parametrize(
    ("compact", "problem"),
    [
        ("", "three parts"),
        ("..", "strict JSON"),
        ("a.b", "three parts"),
        ("a.b.c.d", "three parts"),
        ("a.b.c", "base64url"),
        (f"{text({'alg': 'RS256'})}=.{text(CLAIMS)}.c2ln", "base64url"),
        (f"{text({'alg': 'RS256'})}. {text(CLAIMS)}.c2ln", "base64url"),
        (f"{text({'alg': 'RS256'})}.{text(CLAIMS)}.c2ln\n", "base64url"),
        (f"{text({'alg': 'RS256'})}.{text(CLAIMS)}.c2lné", "base64url"),
        (f"{text({'alg': 'RS256'})}.{text(CLAIMS)}.ab+/", "base64url"),
        (f"{text({'alg': 'RS256'})}.{text(CLAIMS)}.ab", "base64url"),  # stray bits: aQ is the one text of that byte
        (f"{text({'alg': 'RS256'})}..c2ln", "strict JSON"),
        (unsigned(b"\xff"), "UTF-8"),
        (unsigned({"alg": "RS256"}, b"\xff"), "UTF-8"),
        (unsigned([]), "not an object"),
        (unsigned({"alg": "RS256"}, ["iss"]), "not an object"),
        (unsigned({"alg": "RS256"}, b"text"), "not JSON"),
        (unsigned({"alg": "RS256"}, b'{"exp":NaN}'), "not JSON"),
        (unsigned({"alg": "RS256"}, b'{"exp":1e999}'), "not JSON"),
        (unsigned({"alg": "RS256"}, b'{"iss":"\\ud800"}'), "surrogate"),
        (unsigned({"alg": "RS256"}, DEEP), "more than 64"),
        (unsigned(b'{"alg":"none","alg":"RS256"}'), "alg stands in it twice"),
        (unsigned({"alg": "RS256"}, b'{"iss":"a","iss":"b"}'), "iss stands in it twice"),
        (unsigned({"alg": "RS256"}, b'{"iss":"a","\\u0069ss":"b"}'), "iss stands in it twice"),
        (unsigned({"alg": "RS256"}, b'{"a":[{"b":1,"b":2}]}'), "b stands in it twice"),
        (unsigned({}), "no alg"),
        (unsigned({"alg": 5}), "no alg"),
        (unsigned({"alg": "RS256", "kid": 5}), "kid"),
        (unsigned({"alg": "RS256", "kid": None}), "kid"),
        (unsigned({"alg": "RS256", "crit": ["exp"]}), "crit"),
        (unsigned({"alg": "RS256", "b64": False}), "b64"),
        (unsigned({"alg": "RS256", "pad": "x" * 20_000}), "larger than 16384"),
        (unsigned({"alg": "RS256"}, {"pad": "x" * 30_000}), "longer than 32768"),
    ],
)
def test_what_is_not_read(compact: str, problem: str) -> None:
    """Text with two readings, extensions, and sizes that no honest token has are refused, with the reason."""
    with pytest.raises(Malformed, match=problem):
        read(compact)


def test_a_truncated_token_is_never_verified() -> None:
    """Wherever it is cut, it is either not read or its signature does not fit."""
    compact = signed("RS256")
    for end in range(0, len(compact), 7):
        with pytest.raises((Malformed, Refused)):
            verify(read(compact[:end]), [public(key("RSA", 2048))], ["RS256"])


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_\-]*\.[A-Za-z0-9_\-]*\.[A-Za-z0-9_\-]*", fullmatch=True)))
@example("eyJhbGciOiJSUzI1NiJ9.e30.")
def test_reading_is_total(compact: str) -> None:
    """Whatever text comes, it is read or it is malformed; nothing else happens."""
    with_outcome(lambda: read(compact))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "jwk", "x5c", "typ"]), JSON),
    st.dictionaries(st.text(), JSON),
    st.binary(max_size=300),
    st.lists(
        st.dictionaries(st.sampled_from(["kty", "kid", "n", "e", "crv", "x", "y", "k", "use", "alg", "key_ops"]), JSON)
    ),
)
def test_verifying_is_total(
    header: dict[str, Any], claims: dict[str, Any], signature: bytes, keys: list[dict[str, Any]]
) -> None:
    """Whatever header, claims and keys come, they are malformed or refused, and never verified."""
    for algorithm in (header.get("alg"), *ALGORITHMS):
        compact = unsigned({**header, "alg": algorithm}, claims, signature)
        outcome = with_outcome(lambda compact=compact: verify(read(compact), keys, ALGORITHMS))
        assert outcome is None


@given(JSON, JSON, JSON, JSON)
def test_judging_claims_is_total(exp: Any, nbf: Any, iat: Any, aud: Any) -> None:
    """Whatever stands in the claims, there is a verdict."""
    claims = {"exp": exp, "nbf": nbf, "iat": iat, "aud": aud}
    assert isinstance(check_times(claims, NOW, max_age=60, max_lifetime=60), str | None)
    assert isinstance(check_audience(claims, ["https://as.example"]), str | None)


def with_outcome(attempt: Callable[[], object]) -> object | None:
    """What came of it, None where it was refused."""
    try:
        return attempt()
    except (Malformed, Refused):
        return None


def test_reading_is_not_trusting() -> None:
    """What was read has another type than what was verified, and the same digest; neither shows itself in a log."""
    unverified = read(signed("RS256"))
    verified = verify(unverified, [public(key("RSA", 2048))], ["RS256"])

    assert isinstance(unverified, UnverifiedJWS)
    assert not isinstance(verified, UnverifiedJWS)
    assert verified.digest == unverified.digest
    assert len(verified.digest) == 32
    assert verified.compact not in repr(verified)
    assert CLAIMS["iss"] not in repr(unverified)


# --- claims ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "limits", "problem"),
    [
        ({}, {}, None),
        ({"exp": NOW + 10, "nbf": NOW, "iat": NOW}, {"max_age": 60, "max_lifetime": 60}, None),
        ({"exp": NOW - 59}, {}, None),
        ({"exp": NOW - 60}, {}, "expired"),
        ({"exp": NOW}, {"skew": 0}, "expired"),
        ({"nbf": NOW + 60}, {}, None),
        ({"nbf": NOW + 61}, {}, "not valid yet"),
        ({"iat": NOW + 60}, {}, None),
        ({"iat": NOW + 61}, {}, "in the future"),
        ({"iat": NOW - 660}, {"max_age": 600}, None),
        ({"iat": NOW - 661}, {"max_age": 600}, "older than 600"),
        ({}, {"max_age": 600}, "when it was issued"),
        ({}, {"max_lifetime": 600}, "when it expires"),
        ({"iat": NOW, "exp": NOW + 600}, {"max_lifetime": 600}, None),
        ({"iat": NOW, "exp": NOW + 601}, {"max_lifetime": 600}, "more than 600"),
        ({"nbf": NOW - 1, "exp": NOW + 600}, {"max_lifetime": 600}, "more than 600"),
        ({"exp": NOW + 660}, {"max_lifetime": 600}, None),
        ({"exp": NOW + 661}, {"max_lifetime": 600}, "more than 600"),
        ({"exp": True}, {}, "exp is not a number"),
        ({"exp": str(NOW + 10)}, {}, "exp is not a number"),
        ({"exp": None}, {}, "exp is not a number"),
        ({"nbf": [NOW]}, {}, "nbf is not a number"),
        ({"iat": float("inf")}, {}, "iat is not a number"),
        ({"iat": float("nan")}, {}, "iat is not a number"),
        ({"exp": 10**60}, {"max_lifetime": 600}, "more than 600"),
    ],
)
def test_times(claims: dict[str, Any], limits: dict[str, int], problem: str | None) -> None:
    """Each of exp, nbf and iat at its edge, with the clocks 60 seconds apart at the most."""
    found = check_times(claims, NOW, **limits)

    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize(
    ("aud", "problem"),
    [
        ("https://as.example", None),
        (["https://other.example", "https://as.example"], None),
        ("https://as.example/", "somebody else"),
        (["https://other.example"], "somebody else"),
        ([], "whom it is for"),
        (None, "whom it is for"),
        (5, "whom it is for"),
        (["https://as.example", 5], "whom it is for"),
        ({"https://as.example": 1}, "whom it is for"),
    ],
)
def test_audience(aud: Any, problem: str | None) -> None:
    """A string or a list of strings, of which one is ours exactly."""
    found = check_audience({"aud": aud}, ["https://as.example"])

    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize("value", [10**40, 1e308, 2**63])
def test_time_beyond_all_calendars(value: float) -> None:
    """A finite expiry that no store could hold is refused, also where any lifetime is allowed."""
    assert check_times({"exp": value}, NOW) == "exp is out of range"
