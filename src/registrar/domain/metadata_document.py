"""Client ID Metadata Documents (CIMD): a client_id that is the URL of what describes the client.

After draft-ietf-oauth-client-id-metadata-document, the strict union of its versions -00 to -02. Nothing is registered: whoever controls the URL says what the client is, and nobody else can. What such an identifier
and such a document must be beyond what any client's metadata must be stands here; the rest is the policy's, as for a
registration.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from registrar.domain import uri as grammar
from registrar.domain.findings import Finding, Rule, rule
from registrar.domain.metadata import Presented
from registrar.domain.server_metadata import SECRET_METHODS, SYMMETRIC, Offered

MEMBER: Final = "client_id"
ACCEPT: Final = ("application/json", "application/*+json")
"""The media types that a document may have."""
LENGTH: Final = 1024
"""Characters of the URL at the most: it stands in every token's record and on a person's page."""
METHODS: Final = ("private_key_jwt", "none")
"""How such a client may authenticate, the better way first: no secret is shared with anybody who only publishes."""

_DRAFT: Final = "CIMD"
_EXAMPLE: Final = "https://app.example/oauth/client.json"
_DOT_SEGMENT: Final = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
_SECRETS: Final = ("client_secret", "client_secret_expires_at")
_CHOICES: Final = "token_endpoint_auth_methods_supported"
_METHOD: Final = "token_endpoint_auth_method"


def _rule(name: str, section: str, reason: str, accepted: str = _EXAMPLE) -> Rule:
    return rule(f"document.{name}", f"{_DRAFT} {section}", reason, accepted)


URL_LENGTH: Final = rule(
    "document.url_length",
    "engineering",
    "a client_id that is a URL has at most {limit} characters",
    "at most {limit} characters",
)
CHARACTERS: Final = _rule(
    "url_characters",
    "§3",
    "{url} holds {character}, which a URL cannot carry unencoded",
    "the characters of RFC 3986, others percent-encoded; a host in its A-label form",
)
SCHEME: Final = _rule("url_scheme", "§3", "{url} is not an https URL with a host")
HOST: Final = _rule("url_host", "§3", "{host} is not a host and port that something can be fetched from")
PATH: Final = _rule("url_path", "§3", "{url} has no path, and a host alone names no client")
DOT_SEGMENTS: Final = _rule(
    "url_dot_segments", "§3", "{url} has . or .. among the segments of its path", "the path without them"
)
FRAGMENT: Final = _rule("url_fragment", "§3", "{url} has a fragment", "the same URL without # and what follows it")
USERINFO: Final = _rule(
    "url_userinfo",
    "§3",
    "{url} has user information before its host, which misleads people about whose it is",
    "the same URL without anything before the host",
)
ADMITTED: Final = rule(
    "document.host",
    "CIMD §6",
    "is at {host}, and documents of that host are not believed here",
    "a document at {accepted}; or a registration",
)
UNAVAILABLE: Final = _rule(
    "fetched",
    "§4",
    "cannot be fetched: {problem}",
    "a document of {media} with at most {limit} bytes, answered with 200 and without a redirect",
)
JSON: Final = _rule("json", "§4", "the document cannot be read: {problem}", "one JSON object in UTF-8")
SAME: Final = _rule(
    "client_id",
    "§4.1",
    "is {given} in the document, and not the URL that it was fetched from, character by character",
    "{accepted}",
)
SECRET: Final = _rule(
    "secret", "§4.1", "stands in a document that everybody can read, so it is no secret", "no such member"
)
SYMMETRIC_METHOD: Final = _rule(
    "symmetric_method",
    "§4.1",
    "is {given}, which needs a secret that both sides share, and nobody gave one to this client",
    ", ".join(METHODS),
)
CHOSEN: Final = rule(
    "document.method",
    "CIMD §4.1, OpenID Connect RP Metadata Choices §2",
    "names no way of authenticating that such a client can have here; of what else the document says, {chosen} was chosen",
    ", ".join(METHODS),
)
EXPANDED: Final = rule(
    "document.expands",
    "CIMD §6",
    "gives this client more than it had ({kind}), which the policy does not let it give itself",
    "the document as it was, or a word of the operator's (registrar document allow)",
)


def is_url(client_id: str) -> bool:
    """Whether an identifier is meant to be a URL; whether it is a good one, `judge_url` says. None that is issued is one."""
    return "://" in client_id


def judge_url(url: str) -> Finding | None:
    """What is wrong with an identifier that is a URL; None where nothing is.

    It is judged and never rewritten: two that differ in a character are two clients.
    """
    if len(url) > LENGTH:
        return URL_LENGTH.refuse(MEMBER, limit=LENGTH)
    if odd := grammar.odd_character(url):
        return CHARACTERS.refuse(MEMBER, url=url, character=odd)
    if grammar.bad_percent(url):
        return CHARACTERS.refuse(MEMBER, url=url, character="a percent sign without two hexadecimal digits")
    parts = grammar.split(url)
    if parts is None or not url.startswith("https://") or not parts.authority:
        return SCHEME.refuse(MEMBER, url=url)
    if "@" in parts.authority:
        return USERINFO.refuse(MEMBER, url=url)
    host, port = grammar.host_and_port(parts.authority)
    if not grammar.is_host(host) or (port is not None and not grammar.is_port(port)):
        return HOST.refuse(MEMBER, host=parts.authority)
    if parts.fragment is not None:
        return FRAGMENT.refuse(MEMBER, url=url)
    if parts.path in ("", "/"):
        return PATH.refuse(MEMBER, url=url)
    if _DOT_SEGMENT.search(parts.path):
        return DOT_SEGMENTS.refuse(MEMBER, url=url)
    return None


def judge(url: str, document: Presented) -> list[Finding]:
    """What is wrong with a document beyond what its metadata may be, every fault at once."""
    found = []
    if document.get(MEMBER) != url:
        said = document.get(MEMBER)
        found.append(SAME.refuse(MEMBER, given=said if isinstance(said, str) and said else "missing", accepted=url))
    found += [SECRET.refuse(name) for name in _SECRETS if document.get(name) not in (None, "")]
    method = document.get(_METHOD)
    if isinstance(method, str) and method in SECRET_METHODS:
        found.append(SYMMETRIC_METHOD.refuse(_METHOD, given=method))
    return found


def asked(document: Presented, offered: Collection[str] = METHODS) -> tuple[Presented, list[Finding]]:
    """The metadata that a document asks for, to be judged as a registration is.

    What a registration means by saying nothing, a secret, nobody can have here. So where the document names no method,
    or one that is not offered, the best of those that it says it can also use is taken; where it says nothing, its keys
    decide.

    Args:
        document: as it was read.
        offered: the methods that such a client may have.
    """
    members = {name: value for name, value in document.items() if name not in (MEMBER, _CHOICES)}
    method, choices = document.get(_METHOD), document.get(_CHOICES)
    if method in offered:
        return Presented(members), []
    if method in (None, "") and not isinstance(choices, list):
        choices = ["private_key_jwt" if document.get("jwks") or document.get("jwks_uri") else "none"]
    able = [one for one in METHODS if one in offered and isinstance(choices, list) and one in choices]
    if not able:
        return Presented(members), []
    finding = CHOSEN.change(_METHOD, method or None, able[0], chosen=able[0])
    return Presented({**members, _METHOD: able[0]}), [finding]


def offered(rows: Offered) -> Offered:
    """What is offered to such clients: nothing keyed by a secret, and nothing that no person is asked about.

    Whoever has an https host could otherwise have tokens of their own (RFC 6749 §4.4) without anybody having let them in.
    """
    kept = {name: tuple(one for one in values if one not in SYMMETRIC) for name, values in rows.items()}
    kept["token_endpoint_auth_methods_supported"] = tuple(
        one for one in rows["token_endpoint_auth_methods_supported"] if one in METHODS
    )
    kept["grant_types_supported"] = tuple(one for one in rows["grant_types_supported"] if one != "client_credentials")
    return Offered(kept)


def host(url: str) -> str:
    """The host that a judged identifier is at: who answers for the client."""
    return grammar.host_of(url)


def foreign_letters(name: str) -> bool:
    """Whether a host is written with letters beyond ASCII, which may look like others (RFC 5890 §2.3.2.1)."""
    return any(label.startswith("xn--") for label in name.split("."))
