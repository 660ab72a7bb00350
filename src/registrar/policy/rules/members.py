"""What a member, or a key in one, has to look like."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, Final, Literal

from registrar.domain import jwks
from registrar.domain.findings import Finding, listed, rule
from registrar.domain.metadata import is_email
from registrar.policy.evidence import UNSEEN, Facts
from registrar.policy.operators import as_words
from registrar.policy.rules.applied import Metadata, Verdict, named, reading, said

PATTERN: Final = rule(
    "rule.matches",
    "engineering",
    "is {given}, which does not have the form that is demanded",
    "what matches {accepted}",
)
COUNT: Final = rule("rule.maximum", "engineering", "has {count} entries", "at most {accepted}")
CONTACT: Final = rule(
    "rule.email_contacts", "OpenID Connect Registration §2", "{given} is not an e-mail address", "name@example.com"
)
BY_VALUE: Final = rule(
    "rule.prefer_jwks_uri",
    "OpenID Connect Registration §2",
    "is given by value, and a client on the web can publish its keys",
    "jwks_uri, so that keys can change without an update",
)
UNPUBLISHED: Final = rule(
    "rule.published_keys",
    "RFC 7591 §2",
    "leads to no key set that could be registered ({problem})",
    "an https URL that answers with a JWK Set of public keys",
)
KEY_TYPE: Final = rule("rule.key_type", "RFC 7517 §4.1", "has the key type {given}", "{accepted}")
KEY_SIZE: Final = rule(
    "rule.key_size", "RFC 7518 §3.3, NIST SP 800-131A", "has {given} bits", "at least {accepted} bits"
)
KEY_ALGORITHM: Final = rule("rule.key_algorithm", "RFC 7517 §4.4", "is for {given}", "{accepted}")

_BITS: Final = {
    "P-256": 256,
    "P-384": 384,
    "P-521": 521,
    "secp256k1": 256,
    "Ed25519": 256,
    "X25519": 256,
    "Ed448": 456,
    "X448": 448,
}
"""Curve -> bits of a key on it."""


def matches(
    metadata: Metadata,
    _facts: Facts,
    *,
    members: tuple[str, ...],
    pattern: re.Pattern[str],
    some: bool = False,
    verdict: Verdict = "refuse",
) -> Iterator[Finding]:
    """The named members match a pattern whole: a string itself, an array with each of its strings, or with `some` one."""
    for name in named(metadata, members):
        value = metadata[name]
        items = value if isinstance(value, list) else [value]
        others = [item for item in items if not pattern.fullmatch(str(item))]
        if others and (not some or len(others) == len(items)):
            yield said(PATTERN, verdict, name, given=others[0], accepted=listed([_spoken(pattern.pattern)]))


_UNSAID: Final = str.maketrans({'"': "'", "\\": "/"})


def _spoken(pattern: str) -> str:
    """A pattern as an error description may carry it (RFC 6749 §5.2): ASCII without quotes and backslashes."""
    return pattern.encode("ascii", "replace").decode().translate(_UNSAID)


def maximum(
    metadata: Metadata, _facts: Facts, *, members: tuple[str, ...], items: int, verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """The named members have so many entries at the most; `scope` counts its words."""
    for name in named(metadata, members):
        count = len(as_words(name, metadata[name]))
        if count > items:
            yield said(COUNT, verdict, name, count=count, accepted=items)


def email_contacts(metadata: Metadata, _facts: Facts, *, verdict: Verdict = "refuse") -> Iterator[Finding]:
    """`contacts` holds e-mail addresses, with or without `mailto:`; that there are any, `essential` demands."""
    for at, contact in enumerate(metadata.get("contacts", ())):
        if not is_email(contact.removeprefix("mailto:")):
            yield said(CONTACT, verdict, f"contacts[{at}]", given=contact)


def prefer_jwks_uri(metadata: Metadata, _facts: Facts, *, verdict: Verdict = "warn") -> Iterator[Finding]:
    """A client on the web gives its keys by `jwks_uri`; native ones, which cannot publish anything, by value."""
    if "jwks" in metadata and metadata.get("application_type") != "native":
        yield said(BY_VALUE, verdict, "jwks")


@reading("jwks_uri")
def published_keys(metadata: Metadata, facts: Facts, *, verdict: Verdict = "refuse") -> Iterator[Finding]:
    """The document behind `jwks_uri` is fetched, and is a key set that could be registered by value."""
    document = facts.documents.get("jwks_uri", "it was not fetched")
    if "jwks_uri" not in metadata or document is UNSEEN:
        return
    problem = document if isinstance(document, str) else "; ".join(one.reason for one in jwks.judge(document)[:1])
    if problem:
        yield said(UNPUBLISHED, verdict, "jwks_uri", problem=problem)


_KEY_TYPES: Final = ("RSA", "EC", "OKP")


def keys(
    metadata: Metadata,
    facts: Facts,
    *,
    types: tuple[Literal["RSA", "EC", "OKP"], ...] = _KEY_TYPES,
    rsa_bits: int = 2048,
    ec_bits: int = 224,
    algorithms: tuple[str, ...] = (),
    verdict: Verdict = "refuse",
) -> Iterator[Finding]:
    """Keys are of these types and so long, and where they name an algorithm it is one of these.

    Judged are keys by value, and those behind `jwks_uri` where they were fetched for the judgement.
    """
    for member, held in (("jwks", metadata.get("jwks")), ("jwks_uri", facts.documents.get("jwks_uri"))):
        found = held.get("keys") if isinstance(held, dict) else None
        for at, key in enumerate(found if isinstance(found, list) else ()):
            if not isinstance(key, dict):
                continue
            name = f"{member}.keys[{at}]"
            if key.get("kty") not in types:
                yield said(KEY_TYPE, verdict, name, given=key.get("kty"), accepted=listed(types))
                continue
            least = rsa_bits if key["kty"] == "RSA" else ec_bits
            if (bits := _bits(key)) < least:
                yield said(KEY_SIZE, verdict, name, given=bits, accepted=least)
            if algorithms and "alg" in key and key["alg"] not in algorithms:
                yield said(KEY_ALGORITHM, verdict, name, given=key["alg"], accepted=listed(algorithms))


def _bits(key: dict[str, Any]) -> int:
    """The length of a key; 0 where it cannot be told, which is less than anything that is demanded."""
    if key["kty"] != "RSA":
        return _BITS.get(str(key.get("crv")), 0)
    try:
        modulus = str(key.get("n", ""))
        return int.from_bytes(base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))).bit_length()
    except ValueError:
        return 0
