"""Identifiers, secrets and tokens: their form, what is stored of them, and what opens what."""

from __future__ import annotations

import base64
import hashlib
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import credentials
from registrar.domain.credentials import (
    Credentials,
    KeyEncryptionKeys,
    PresentedToken,
    Sealed,
    SecretRecord,
    TokenRecord,
    Unreadable,
    Wrapped,
    context,
    digest,
    same,
    seal,
    unseal,
)

URL_SAFE = set(string.ascii_letters + string.digits + "-_")
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
NONCE = bytes(12)
HERE = context("main", "client", "secret", 1)


@pytest.mark.requirement("SEED-50", "R7591-48", "BASE-34")
@given(st.integers(0, 2**42), st.binary(min_size=16, max_size=16))
def test_client_id(now_ms: int, random: bytes) -> None:
    """An identifier has at least 21 URL-safe characters, holds all its randomness, and sorts by time."""
    made = credentials.client_id(now_ms, random)

    assert len(made) == 33
    assert set(made) <= URL_SAFE
    assert made.endswith(base64.urlsafe_b64encode(random).rstrip(b"=").decode())
    assert made[:11] < credentials.client_id(now_ms + 1, random)[:11]


@pytest.mark.requirement("SEED-50", "OIDC-52", "R7592-33")
@given(st.binary(min_size=64, max_size=64))
def test_secrets_and_tokens(random: bytes) -> None:
    """A secret is the base64url of 64 bytes, a token of 32: 86 and 43 URL-safe characters, from which the bytes return."""
    secret, token = credentials.secret(random), credentials.token(random[:32])

    assert (len(secret), len(token)) == (86, 43)
    assert set(secret + token) <= URL_SAFE
    assert base64.urlsafe_b64decode(secret + "==") == random
    assert base64.urlsafe_b64decode(token + "=") == random[:32]
    assert (credentials.SECRET_BYTES, credentials.TOKEN_BYTES, credentials.CLIENT_ID_BYTES) == (64, 32, 16)


@pytest.mark.requirement("R7592-33", "D-5")
def test_digest() -> None:
    """What is stored of a value is its SHA-256, and digests are compared as wholes."""
    assert digest("value") == hashlib.sha256(b"value").digest()
    assert same(digest("value"), digest("value"))
    assert not same(digest("value"), digest("valuf"))
    assert not same(digest("value"), digest("value")[:-1])


@pytest.mark.requirement("D-5")
def test_the_key_of_a_token_is_not_its_digest() -> None:
    """Each token yields a key of its own, which does not follow from what the store holds of the token."""
    one, other = PresentedToken("one"), PresentedToken("other")

    assert len(credentials.key_of_token(one)) == 32
    assert credentials.key_of_token(one) == credentials.key_of_token(one)
    assert credentials.key_of_token(one) != credentials.key_of_token(other)
    assert credentials.key_of_token(one) != digest("one")


@pytest.mark.requirement("D-5")
@given(st.binary(max_size=100))
def test_sealed_values_open_again(value: bytes) -> None:
    """Under the same key and context a sealed value opens; the value does not stand in the ciphertext."""
    sealed = seal(KEY, NONCE, value, HERE)

    assert unseal(KEY, sealed, HERE) == value
    assert len(value) < 4 or value not in sealed.ciphertext
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sealed), type=Sealed) == sealed


@pytest.mark.requirement("D-5")
@pytest.mark.parametrize(
    "elsewhere",
    [
        context("other", "client", "secret", 1),
        context("main", "other", "secret", 1),
        context("main", "client", "other", 1),
        context("main", "client", "secret", 2),
        b"",
    ],
)
def test_sealed_values_open_nowhere_else(elsewhere: bytes) -> None:
    """A sealed value that was moved to another issuer, client, purpose or version does not open."""
    with pytest.raises(Unreadable):
        unseal(KEY, seal(KEY, NONCE, b"value", HERE), elsewhere)


def test_sealed_values_open_under_no_other_key() -> None:
    """Another key opens nothing."""
    with pytest.raises(Unreadable):
        unseal(OTHER, seal(KEY, NONCE, b"value", HERE), HERE)


@given(st.integers(0, 20), st.integers(1, 255))
def test_altered_ciphertext(at: int, flip: int) -> None:
    """Any changed byte is noticed."""
    sealed = seal(KEY, NONCE, b"value", HERE)
    octets = bytearray(sealed.ciphertext)
    octets[at] ^= flip

    with pytest.raises(Unreadable):
        unseal(KEY, Sealed(sealed.nonce, bytes(octets)), HERE)


@pytest.mark.parametrize("nonce", [b"", b"short", bytes(11) + b"x", bytes(13), bytes(500)])
def test_altered_nonce(nonce: bytes) -> None:
    """Another nonce, even one of an impossible length, opens nothing."""
    with pytest.raises(Unreadable):
        unseal(KEY, Sealed(nonce, seal(KEY, NONCE, b"value", HERE).ciphertext), HERE)


@pytest.mark.parametrize("ciphertext", [b"", b"x", bytes(15)])
def test_truncated_ciphertext(ciphertext: bytes) -> None:
    """What is too short to hold a tag does not open."""
    with pytest.raises(Unreadable):
        unseal(KEY, Sealed(NONCE, ciphertext), HERE)


# --- key-encryption keys ------------------------------------------------------------------------------------------------


def line(key: bytes) -> str:
    """A key as its file holds it."""
    return base64.b64encode(key).decode()


def test_key_files() -> None:
    """A key file has a line for each key; comments, blank lines and surrounding white space mean nothing."""
    keys = KeyEncryptionKeys.read(f"# newest\n\n  {line(KEY)}\t\r\n   # older\n{line(OTHER)}")

    assert repr(keys) == "KeyEncryptionKeys(2)"
    assert keys.unwrap(KeyEncryptionKeys((KEY,)).wrap(NONCE, b"value", HERE), HERE) == b"value"
    assert keys.unwrap(KeyEncryptionKeys((OTHER,)).wrap(NONCE, b"value", HERE), HERE) == b"value"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs one or more lines"),
        ("# only a comment", "needs one or more lines"),
        (line(KEY[:31]), "needs one or more lines"),
        (line(KEY + b"x"), "needs one or more lines"),
        (f"{line(KEY)}\n{line(b'')}x", "not base64"),
        ("not base64!", "not base64"),
        ("é", "not base64"),
        (line(KEY)[:-1], "not base64"),
        (f"{line(KEY)} # comment", "not base64"),
    ],
)
def test_bad_key_files(text: str, reason: str) -> None:
    """A file that is not what it should be is refused, and nothing of it is repeated."""
    with pytest.raises(ValueError, match=reason) as caught:
        KeyEncryptionKeys.read(text)
    assert line(KEY)[:20] not in str(caught.value)


def test_the_newest_key_wraps() -> None:
    """The first key wraps; a value names its key, so that older values stay readable and the file can be rotated."""
    old, both = KeyEncryptionKeys((OTHER,)), KeyEncryptionKeys((KEY, OTHER))
    before, after = old.wrap(NONCE, b"value", HERE), both.wrap(NONCE, b"value", HERE)

    assert both.unwrap(before, HERE) == both.unwrap(after, HERE) == b"value"
    with pytest.raises(Unreadable):
        old.unwrap(after, HERE)
    with pytest.raises(Unreadable):
        both.unwrap(Wrapped(before.key, after.sealed), HERE)
    assert KEY[:8] not in (after.key, before.key)


def test_no_keys_at_all() -> None:
    """Without a key nothing is readable, and that can be asked beforehand."""
    none = KeyEncryptionKeys(())

    assert not none
    assert KeyEncryptionKeys((KEY,))
    with pytest.raises(Unreadable):
        none.unwrap(KeyEncryptionKeys((KEY,)).wrap(NONCE, b"value", HERE), HERE)


def test_keys_show_nothing() -> None:
    """A key set in a log line or traceback tells how many keys there are, not which."""
    assert KEY.hex() not in repr(KeyEncryptionKeys((KEY,)))
    assert repr(KEY) not in repr(KeyEncryptionKeys((KEY,)))


# --- what lives -----------------------------------------------------------------------------------------------------------


def held(value: str, **more: int) -> SecretRecord:
    """A secret as the store holds it."""
    return SecretRecord(digest(value), None, 1, 0, **more)


@pytest.mark.requirement("R7592-32", "R7592-36")
def test_token_presented() -> None:
    """The current token lives for ever, one that was replaced until its end, and no other value is a token."""
    current, old, gone = (
        TokenRecord(digest(value), until=until) for value, until in (("now", 0), ("old", 100), ("gone", 50))
    )
    client = Credentials(tokens=(current, old, gone))

    assert client.token_presented(PresentedToken("now"), 10**12) is current
    assert client.token_presented(PresentedToken("old"), 99) is old
    assert client.token_presented(PresentedToken("old"), 100) is None
    assert client.token_presented(PresentedToken("gone"), 60) is None
    assert client.token_presented(PresentedToken("other"), 0) is None
    assert client.token_presented(PresentedToken(""), 0) is None
    assert Credentials().token_presented(PresentedToken("now"), 0) is None


def test_secret_is() -> None:
    """A secret lives until it expires, a superseded one until its overlap ends, whichever comes first."""
    client = Credentials(
        secrets=(held("new", expires_at=200), held("old", expires_at=150, until=100), held("older", until=50))
    )

    assert client.secret_is("new", 199)
    assert not client.secret_is("new", 200)
    assert client.secret_is("old", 99)
    assert not client.secret_is("old", 100)
    assert not client.secret_is("older", 50)
    assert not client.secret_is("other", 0)
    assert not Credentials().secret_is("new", 0)
    assert held("x").lives(10**12)
    assert not held("x", expires_at=10, until=20).lives(15)
