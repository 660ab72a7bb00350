"""Which grants, scopes and ways of authenticating go together, and how much whoever registers may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from registrar.domain.client import Assurance
from registrar.domain.coherence import GRANTS_OF_RESPONSE_TYPE
from registrar.domain.findings import Finding, listed, rule
from registrar.policy.evidence import Facts
from registrar.policy.operators import as_words, from_words
from registrar.policy.rules.applied import Metadata, TakingAway

CEILING: Final = rule(
    "rule.ceiling",
    "RFC 7591 §5",
    "held {given}, which nobody may register who is less than {below}",
    "{accepted}",
)
CEILING_EMPTY: Final = rule(
    "rule.ceiling_empty",
    "RFC 7591 §5",
    "holds nothing that may be registered by somebody who is less than {below}",
    "{accepted}",
)
REFRESH: Final = rule(
    "rule.refresh_requires_confidential",
    "RFC 6749 §10.4",
    "held refresh_token, which is for clients that can keep a secret",
    "the other grants, or another token_endpoint_auth_method than none",
)
SEPARATE: Final = rule(
    "rule.separate_grants",
    "RFC 7591 §5",
    "holds {given}, which are registered separately here",
    "a client for each of {accepted}",
)
FLIPPED: Final = rule(
    "rule.same_client_type",
    "OAuth 2.1 §2.1",
    "would make a {before} client {after}",
    "{accepted}, or a new registration",
)


def ceiling(
    metadata: Metadata,
    facts: Facts,
    *,
    below: Assurance,
    scopes: tuple[str, ...] = (),
    grants: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    verdict: TakingAway = "drop",
) -> Iterator[Finding]:
    """Who does not reach the assurance `below` has these scopes, grants and methods at the most; none given is no limit.

    More assurance never has less: it leaves ceilings behind and meets no others. The assurances are, from the least:
    `open`, `document`, `client`, `user`, `statement`, `certificate`, `operator`.
    """
    if facts.assurance.reaches(below):
        return
    for name, most in (("scope", scopes), ("grant_types", grants)):
        words = as_words(name, metadata.get(name))
        kept = [word for word in words if word in most]
        if not most or len(kept) == len(words):
            continue
        if verdict == "refuse" or (not kept and name == "grant_types"):
            yield CEILING_EMPTY.refuse(name, below=below, accepted=listed(most))
            continue
        surplus = [word for word in words if word not in most]
        after = from_words(name, kept) if kept else None
        yield CEILING.change(name, metadata[name], after, given=surplus, below=below, accepted=listed(most))
        if name == "grant_types":
            yield from _response_types(metadata, kept, below)
    method = metadata.get("token_endpoint_auth_method")
    if methods and method not in methods:
        # A way of authenticating is never replaced: the client would go on with the one that it asked for.
        yield CEILING_EMPTY.refuse("token_endpoint_auth_method", below=below, accepted=listed(methods))


def _response_types(metadata: Metadata, grants: Sequence[str], below: Assurance) -> Iterator[Finding]:
    """Response types go with the grants that they presuppose (RFC 7591 §2.1)."""
    given = metadata.get("response_types", [])
    kept = [one for one in given if GRANTS_OF_RESPONSE_TYPE.get(frozenset(one.split()), _NEVER).issubset(grants)]
    if kept != given:
        surplus = [one for one in given if one not in kept]
        yield CEILING.change("response_types", given, kept or None, given=surplus, below=below, accepted=listed(kept))


_NEVER: Final = frozenset({"its own grant"})


def refresh_requires_confidential(
    metadata: Metadata, _facts: Facts, *, verdict: TakingAway = "drop"
) -> Iterator[Finding]:
    """Refresh tokens are for clients that can keep a secret: `none` loses the grant, or is refused."""
    grants = metadata.get("grant_types", [])
    if metadata.get("token_endpoint_auth_method") != "none" or "refresh_token" not in grants:
        return
    kept = [grant for grant in grants if grant != "refresh_token"]
    if verdict == "refuse" or not kept:
        yield REFRESH.refuse("grant_types")
    else:
        yield REFRESH.change("grant_types", grants, kept)


_SEPARATE: Final = ("authorization_code", "client_credentials")


def separate_grants(metadata: Metadata, _facts: Facts, *, grants: tuple[str, ...] = _SEPARATE) -> Iterator[Finding]:
    """One registration has one of these grants at the most (RFC 7591 §5)."""
    held = [grant for grant in metadata.get("grant_types", ()) if grant in grants]
    if len(held) > 1:
        yield SEPARATE.refuse("grant_types", given=held, accepted=listed(grants))


def same_client_type(metadata: Metadata, facts: Facts) -> Iterator[Finding]:
    """An update leaves a client of its type, and so does what takes its place: public or confidential, web or native."""
    had = facts.replaces if facts.before is None else facts.before
    if had is None:
        return
    for name, type_of in (("token_endpoint_auth_method", _secrecy), ("application_type", _application)):
        before, after = type_of(had), type_of(metadata)
        if before != after:
            yield FLIPPED.refuse(name, before=before, after=after, accepted=f"what a {before} client uses")


def _secrecy(metadata: Metadata) -> str:
    return "public" if metadata.get("token_endpoint_auth_method") == "none" else "confidential"


def _application(metadata: Metadata) -> Any:
    return metadata.get("application_type", "web")
