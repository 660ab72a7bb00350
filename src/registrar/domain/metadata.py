"""Client metadata: one table with a row for every registered member, and the parser that reads it.

The table is RFC 7591 §4.1's IANA registry as of 2026-03-25, and the few unregistered members that servers meet.
Parsing, discovery, the reference pages, the tests (and later the portal's form) read it; no member is named elsewhere
as something that exists. A value goes through three types, each a promise about it: what was presented (`Presented`),
what has the shape that the table asks for (`Shaped`), and what was judged as a whole and may be stored (`Registered`).
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, NewType, TypedDict

import msgspec

from registrar.domain import jwks, redirect_uri
from registrar.domain import uri as grammar
from registrar.domain.certificate import parse_name
from registrar.domain.findings import Finding, Rule, listed, rule, shown

Presented = NewType("Presented", dict[str, Any])
"""The members of a request body, of which nothing is known but that it is one JSON object."""

SignedRequest = NewType("SignedRequest", str)
"""A request body that was sent as a JWT, of which nothing is known; its claims are what is presented."""

Shaped = NewType("Shaped", dict[str, Any])
"""Members of the table alone, each of its type and within its own checks; not yet judged together."""

Registered = NewType("Registered", dict[str, Any])
"""The result of a decision: complete with defaults, coherent, allowed by policy. This is stored and answered."""

Check = Callable[[Any, str], Sequence[Finding]]
Default = Callable[[Mapping[str, Any]], Any]


class Role(enum.StrEnum):
    """Who writes a member."""

    CLIENT = "client"
    """The client registers it."""
    SERVER = "server"
    """The server issues it: without effect in a POST (RFC 7591 §3.1), see RFC 7592 §2.2 for a PUT."""
    DERIVED = "derived"
    """The server computes it from other members; a client may repeat it and changes nothing by it."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table."""

    name: str
    type: str
    source: str
    meaning: str
    check: Check
    role: Role = Role.CLIENT
    constant: str | bool | list[str] | None = None
    """What an absent member means; written into the answer (RFC 7591 §3.2.1). Shared by all decisions, never altered."""
    default: Default | None = None
    """The same where it depends on the members decided before; `default_text` says it."""
    default_text: str = ""
    localised: bool = False
    """Whether `name#tag` is a member too (RFC 7591 §2.2)."""
    offered: str = ""
    """The row of `server_metadata.OFFERED` that lists the values it may have."""
    voluntary: bool = False
    """Whether it is a wish (OpenID Connect Core §5.5.1.1): what is not offered is dropped, even when nothing is left."""
    feature: str = ""
    """What would have to be served for the member to mean something; it is ignored while that is not."""
    personal: bool = False
    """Whether it may name a person, and so stays out of logs (RFC 7591 §6)."""


class Limits(NamedTuple):
    """What one registration may hold at the most."""

    array_items: int = 20
    text_characters: int = 2048
    localised: int = 100
    """Members with a language tag."""


LIMITS: Final = Limits()


# --- rules of shape -----------------------------------------------------------------------------------------------

TYPE: Final = rule("metadata.type", "RFC 7591 §2", "is {given} where {type} is needed", "{type}")
REDIRECTS_TYPE: Final = rule(
    "redirect_uri.type",
    "RFC 7591 §2",
    "is {given} where an array of strings is needed",
    "a non-empty array of strings",
    error="invalid_redirect_uri",
)
REDIRECTS_COUNT: Final = rule(
    "redirect_uri.count",
    "engineering",
    "has {count} entries",
    f"at most {LIMITS.array_items} redirect URIs",
    error="invalid_redirect_uri",
)
REDIRECTS_TWICE: Final = rule(
    "redirect_uri.duplicate",
    "engineering",
    "{uri} stands in the array before",
    "each redirect URI once",
    error="invalid_redirect_uri",
)
ITEMS: Final = rule("metadata.items", "engineering", "has {count} entries", f"at most {LIMITS.array_items} entries")
LENGTH: Final = rule(
    "metadata.length", "engineering", "has {count} characters", f"at most {LIMITS.text_characters} characters"
)
CONTROL: Final = rule(
    "metadata.characters",
    "engineering, Unicode UTS 39",
    "holds {character}, which hides or reorders the text around it",
    "text without control, bidirectional-override or surrogate characters",
)
RANGE: Final = rule("metadata.range", "OpenID Connect Registration §2", "is {given}", "an integer from 0 to 2147483647")
ENUMERATED: Final = rule("metadata.value", "OpenID Connect Registration §2", "is {given}", "{accepted}")
WEB_PAGE: Final = rule(
    "metadata.web_page",
    "RFC 7591 §2",
    "{given} is not the URL of a web page",
    "an absolute http or https URL with a host, without user information",
)
HTTPS_ONLY: Final = rule(
    "metadata.https",
    "OpenID Connect Registration §2",
    "{given} is not an https URL",
    "an absolute https URL with a host, without user information",
)
SCOPE: Final = rule(
    "metadata.scope",
    "RFC 6749 §3.3",
    "{given} is not a scope",
    "one string of space-separated scope tokens of printable ASCII without quotes and backslashes",
)
WEBHOOK: Final = rule(
    "metadata.webhook",
    "Open Finance Brasil DCR §7.1",
    "{given} is not a webhook URI",
    "an https URL of at most 255 characters without query, fragment and slash at the end",
    error="invalid_webhook_uris",
)
SUBJECT_DN: Final = rule(
    "metadata.subject_dn",
    "RFC 4514",
    "{given} is not a distinguished name",
    "an RFC 4514 string such as CN=app,O=Example,C=GB",
)
SAN: Final = rule("metadata.san", "RFC 8705 §2.1.2", "{given} is not a {kind}", "a {kind} in its canonical form")
LANGUAGE_TWICE: Final = rule(
    "metadata.language_twice",
    "RFC 7591 §2.2",
    "is given twice; language tags are compared without regard to case",
    "one value for each language",
)
LANGUAGES: Final = rule(
    "metadata.languages",
    "engineering",
    "is one member with a language tag too many",
    f"at most {LIMITS.localised} members with a language tag",
)
LANGUAGE_TAG: Final = rule(
    "metadata.language_tag",
    "RFC 7591 §2.2, BCP 47",
    "has a suffix that is not a language tag",
    "name#tag with a BCP 47 tag such as fr-CA",
)
UNKNOWN: Final = rule("metadata.unknown", "RFC 7591 §2", "is not a member that this server knows; it has no effect")
NOT_OFFERED: Final = rule(
    "metadata.feature", "RFC 7591 §2", "belongs to {feature}, which is not served here; it has no effect"
)
SERVER_ONLY: Final = rule(
    "metadata.server_only", "RFC 7591 §3.1", "is issued by the server; a value sent by a client has no effect"
)


# --- checks, one for each type of value -----------------------------------------------------------------------------

_OK: Final[Sequence[Finding]] = ()
# Controls, and the characters that reorder what a person reads (Unicode UAX 9, "Trojan Source"); surrogates are not text.
_HIDING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SCOPE: Final = re.compile(r" *[\x21\x23-\x5b\x5d-\x7e]+(?: +[\x21\x23-\x5b\x5d-\x7e]+)* *")
_LANGUAGE: Final = re.compile(
    r"(?=.{1,64}\Z)(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8}|x)(?:-[A-Za-z0-9]{1,8})*"
)
_MAX_INTEGER: Final = 2**31 - 1
_JSON_NAMES: Final = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
}


def _type(wanted: str, value: Any, name: str) -> Sequence[Finding]:
    return (TYPE.refuse(name, given=_JSON_NAMES.get(type(value), "null"), type=wanted),)


_TEXT_CHARACTERS: Final = LIMITS.text_characters
_STRINGS: Final = {str}


def _text(value: Any, name: str) -> Sequence[Finding]:
    if type(value) is not str:
        return _type("a string", value, name)
    if len(value) > _TEXT_CHARACTERS:
        return (LENGTH.refuse(name, count=len(value)),)
    if (value.isascii() and value.isprintable()) or not (hiding := _HIDING.search(value)):
        return _OK
    return (CONTROL.refuse(name, character=f"U+{ord(hiding[0]):04X}"),)


def _texts(value: Any, name: str) -> Sequence[Finding]:
    if type(value) is not list or {*map(type, value)} != _STRINGS:
        return _type("an array of strings", value, name)
    if len(value) > LIMITS.array_items:
        return (ITEMS.refuse(name, count=len(value)),)
    together = "".join(value)
    if together.isascii() and together.isprintable() and len(together) <= _TEXT_CHARACTERS:
        return _OK
    return [fault for at, item in enumerate(value) for fault in _text(item, f"{name}[{at}]")]


def _boolean(value: Any, name: str) -> Sequence[Finding]:
    return _OK if type(value) is bool else _type("a boolean", value, name)


def _integer(value: Any, name: str) -> Sequence[Finding]:
    if type(value) is not int:
        return _type("an integer", value, name)
    return _OK if 0 <= value <= _MAX_INTEGER else (RANGE.refuse(name, given=value),)


def _object(value: Any, name: str) -> Sequence[Finding]:
    return _OK if type(value) is dict else _type("an object", value, name)


def _one_of(*values: str) -> Check:
    def check(value: Any, name: str) -> Sequence[Finding]:
        if type(value) is str and value in values:
            return _OK
        return _text(value, name) or (ENUMERATED.refuse(name, given=value, accepted=listed(values)),)

    return check


def _url(schemes: tuple[str, ...], failure: Rule) -> Check:
    def check(value: Any, name: str) -> Sequence[Finding]:
        if type(value) is str and grammar.is_plain_web(value):
            return _OK
        if faults := _text(value, name):
            return faults
        parts = None if grammar.odd_character(value) or grammar.bad_percent(value) else grammar.split(value)
        if parts is None or parts.scheme not in schemes or not parts.authority or "@" in parts.authority:
            return (failure.refuse(name, given=value),)
        host, port = grammar.host_and_port(parts.authority)
        if not grammar.is_host(host) or (port is not None and not grammar.is_port(port)):
            return (failure.refuse(name, given=value),)
        return _OK

    return check


def _each(check: Check) -> Check:
    def checks(value: Any, name: str) -> Sequence[Finding]:
        return _texts(value, name) or [fault for at, item in enumerate(value) for fault in check(item, f"{name}[{at}]")]

    return checks


def _redirects(value: Any, name: str) -> Sequence[Finding]:
    if type(value) is not list:
        return (REDIRECTS_TYPE.refuse(name, given=_JSON_NAMES.get(type(value), "null")),)
    if len(value) > LIMITS.array_items:
        return (REDIRECTS_COUNT.refuse(name, count=len(value)),)
    faults: list[Finding] = []
    for at, item in enumerate(value):
        if type(item) is not str:
            faults.append(REDIRECTS_TYPE.refuse(f"{name}[{at}]", given=_JSON_NAMES.get(type(item), "null")))
            continue
        if not redirect_uri.is_plain(item) and isinstance(judged := redirect_uri.judge(item, f"{name}[{at}]"), Finding):
            faults.append(judged)
        elif len(value) > 1 and item in value[:at]:
            faults.append(REDIRECTS_TWICE.refuse(f"{name}[{at}]", uri=item))
    return faults


def _landing_pages(value: Any, name: str) -> Sequence[Finding]:
    """URLs that a person is sent to and that are no redirect URIs: the same grammar, another error code."""
    faults = _texts(value, name) or _redirects(value, name)
    return [msgspec.structs.replace(fault, error="invalid_client_metadata") for fault in faults]


def _landing_page(value: Any, name: str) -> Sequence[Finding]:
    if faults := _text(value, name):
        return faults
    judged = redirect_uri.judge(value, name)
    return (msgspec.structs.replace(judged, error="invalid_client_metadata"),) if isinstance(judged, Finding) else _OK


def _logout_uri(value: Any, name: str) -> Sequence[Finding]:
    """Where the server itself calls: https, or this machine while developing (Back-Channel Logout §2.2)."""
    faults = _landing_page(value, name)
    if faults or redirect_uri.judge(value, name).kind is not redirect_uri.Kind.PRIVATE_USE:  # type: ignore[union-attr]
        return faults
    return (HTTPS_ONLY.refuse(name, given=value),)


def _webhooks(value: Any, name: str) -> Sequence[Finding]:
    """Https URLs to which a path is added: none ends in a slash, and none has a query (Open Finance Brasil DCR §7.1)."""
    faults = _texts(value, name)
    if not faults:
        faults = [
            WEBHOOK.refuse(f"{name}[{at}]", given=item)
            for at, item in enumerate(value)
            if len(item) > _WEBHOOK or _https(item, name) or item.endswith("/") or "?" in item or "#" in item
        ]
    return [msgspec.structs.replace(fault, error=WEBHOOK.error) for fault in faults]


_WEBHOOK: Final = 255


def _scope(value: Any, name: str) -> Sequence[Finding]:
    if type(value) is not str:
        return _type("a string", value, name)
    if len(value) <= LIMITS.text_characters and _SCOPE.fullmatch(value):
        return _OK
    return _text(value, name) or (SCOPE.refuse(name, given=value),)


def _subject_dn(value: Any, name: str) -> Sequence[Finding]:
    if faults := _text(value, name):
        return faults
    try:
        return _OK if list(parse_name(value)) else (SUBJECT_DN.refuse(name, given=value),)
    except ValueError:
        return (SUBJECT_DN.refuse(name, given=value),)


def _san(kind: str, holds: Callable[[str], bool]) -> Check:
    def check(value: Any, name: str) -> Sequence[Finding]:
        return _text(value, name) or (_OK if holds(value) else (SAN.refuse(name, given=value, kind=kind),))

    return check


def _is_dns_name(text: str) -> bool:
    return "[" not in text and text.isascii() and grammar.is_host(text.lower()) and not text[-1].isdigit()


def _is_uri(text: str) -> bool:
    return not grammar.odd_character(text) and not grammar.bad_percent(text) and grammar.split(text) is not None


def _is_canonical_address(text: str) -> bool:
    try:
        return str(ipaddress.ip_address(text)) == text and "%" not in text
    except ValueError:
        return False


def is_email(text: str) -> bool:
    """Whether a text has the form of an e-mail address."""
    local, at, host = text.rpartition("@")
    return bool(at and local and host) and " " not in text and grammar.is_host(host.lower())


def _keys(value: Any, name: str) -> Sequence[Finding]:
    return jwks.judge(value, name) if type(value) is dict else _type("an object", value, name)


_page: Final = _url(("https", "http"), WEB_PAGE)
_https: Final = _url(("https",), HTTPS_ONLY)


# --- defaults that depend on what was decided before ------------------------------------------------------------------


def _response_types(members: Mapping[str, Any]) -> list[str] | None:
    # RFC 7591 §2 gives ["code"] without a condition, which would contradict §2.1 for a client that never redirects.
    return ["code"] if "authorization_code" in members.get("grant_types", ()) else None


def _token_endpoint_method(members: Mapping[str, Any]) -> Any:
    return members.get("token_endpoint_auth_method")


def _content_encryption(algorithm: str) -> Default:
    return lambda members: "A128CBC-HS256" if algorithm in members else None


# --- the table ----------------------------------------------------------------------------------------------------

_R7591, _OIDC, _MTLS, _INTROSPECTION = "RFC 7591 §2", "OpenID Connect Registration §2", "RFC 8705 §2.1.2", "RFC 9701 §6"
_FEDERATION, _CIBA, _JARM, _NFV = "OpenID Federation §5.2.2", "OpenID Connect CIBA §4", "JARM §3", "ETSI NFV-SEC 022"


def _row(name: str, type_: str, source: str, check: Check, meaning: str, **more: Any) -> Member:
    return Member(name=name, type=type_, source=source, check=check, meaning=meaning, **more)


def _client(*rows: tuple[Any, ...]) -> dict[str, Member]:
    table: dict[str, Member] = {}
    for name, type_, source, check, meaning, more in rows:
        table[name] = _row(name, type_, source, check, meaning, **more)
    return table


def _issued(name: str, type_: str, source: str, meaning: str) -> Member:
    return _row(name, type_, source, lambda *_: _OK, meaning, role=Role.SERVER)


# fmt: off
MEMBERS: Final[Mapping[str, Member]] = {
    # The order is the order of decision and of the answer: a default may look at what stands above it.
    **_client(
        ("redirect_uris", "array of strings", _R7591, _redirects, "Where the authorization endpoint may send people back to.", {}),
        ("token_endpoint_auth_method", "string", _R7591, _text, "How the client authenticates at the token endpoint.", {"constant": "client_secret_basic", "offered": "token_endpoint_auth_methods_supported"}),
        ("grant_types", "array of strings", _R7591, _texts, "The grants that the client may use at the token endpoint.", {"constant": ["authorization_code"], "offered": "grant_types_supported"}),
        ("response_types", "array of strings", _R7591, _texts, "The response types that the client may ask for.", {"default": _response_types, "default_text": "code, where authorization_code is registered", "offered": "response_types_supported"}),
        ("application_type", "string", _OIDC, _one_of("web", "native"), "What kind of application it is.", {"constant": "web"}),
        ("client_name", "string", _R7591, _text, "The name shown to people; a claim of the client, never proof.", {"localised": True}),
        ("client_uri", "URL", _R7591, _page, "A page about the client.", {"localised": True}),
        ("logo_uri", "URL", _R7591, _page, "A picture of the client.", {"localised": True}),
        ("scope", "string", _R7591, _scope, "The scopes that the client may ask for, separated by spaces.", {"default_text": "the issuer's default scopes", "offered": "scopes_supported"}),
        ("contacts", "array of strings", _R7591, _texts, "How to reach the people responsible.", {"personal": True}),
        ("tos_uri", "URL", _R7591, _page, "The terms of service.", {"localised": True}),
        ("policy_uri", "URL", _R7591, _page, "The privacy policy.", {"localised": True}),
        ("jwks_uri", "URL", _R7591, _https, "Where the client publishes its public keys.", {}),
        ("jwks", "object", _R7591, _keys, "The client's public keys by value.", {}),
        ("software_id", "string", _R7591, _text, "What software this is, the same in every instance.", {}),
        ("software_version", "string", _R7591, _text, "The version of the software; compared only for equality.", {}),
        ("sector_identifier_uri", "URL", _OIDC, _https, "A document that lists the redirect URIs of one sector.", {}),
        ("subject_type", "string", _OIDC, _text, "Whether people's identifiers are the same at every client.", {"constant": "public", "offered": "subject_types_supported"}),
        ("id_token_signed_response_alg", "string", _OIDC, _text, "How ID tokens are signed.", {"constant": "RS256", "offered": "id_token_signing_alg_values_supported"}),
        ("id_token_encrypted_response_alg", "string", _OIDC, _text, "How ID tokens' keys are encrypted.", {"offered": "id_token_encryption_alg_values_supported"}),
        ("id_token_encrypted_response_enc", "string", _OIDC, _text, "How ID tokens are encrypted.", {"default": _content_encryption("id_token_encrypted_response_alg"), "default_text": "A128CBC-HS256, with an alg", "offered": "id_token_encryption_enc_values_supported"}),
        ("userinfo_signed_response_alg", "string", _OIDC, _text, "How UserInfo answers are signed.", {"offered": "userinfo_signing_alg_values_supported"}),
        ("userinfo_encrypted_response_alg", "string", _OIDC, _text, "How UserInfo answers' keys are encrypted.", {"offered": "userinfo_encryption_alg_values_supported"}),
        ("userinfo_encrypted_response_enc", "string", _OIDC, _text, "How UserInfo answers are encrypted.", {"default": _content_encryption("userinfo_encrypted_response_alg"), "default_text": "A128CBC-HS256, with an alg", "offered": "userinfo_encryption_enc_values_supported"}),
        ("request_object_signing_alg", "string", _OIDC, _text, "How the client's request objects must be signed.", {"offered": "request_object_signing_alg_values_supported"}),
        ("request_object_encryption_alg", "string", _OIDC, _text, "How the client may encrypt request objects' keys.", {"offered": "request_object_encryption_alg_values_supported"}),
        ("request_object_encryption_enc", "string", _OIDC, _text, "How the client may encrypt request objects.", {"default": _content_encryption("request_object_encryption_alg"), "default_text": "A128CBC-HS256, with an alg", "offered": "request_object_encryption_enc_values_supported"}),
        ("token_endpoint_auth_signing_alg", "string", _OIDC, _text, "How the client's assertions must be signed.", {"offered": "token_endpoint_auth_signing_alg_values_supported"}),
        ("default_max_age", "integer", _OIDC, _integer, "How old a sign-in may be, in seconds, where a request does not say.", {}),
        ("require_auth_time", "boolean", _OIDC, _boolean, "Whether ID tokens always say when the person signed in.", {"constant": False}),
        ("default_acr_values", "array of strings", _OIDC, _texts, "The authentication contexts asked for where a request does not say.", {"offered": "acr_values_supported", "voluntary": True}),
        ("initiate_login_uri", "URL", _OIDC, _https, "Where others may start a sign-in at the client.", {}),
        ("request_uris", "array of URLs", _OIDC, _each(_https), "Where the client's request objects lie; a fragment is the SHA-256 of the content.", {"constant": []}),
        ("require_signed_request_object", "boolean", "RFC 9101 §10.5", _boolean, "Whether only signed requests are accepted.", {"constant": False}),
        ("require_pushed_authorization_requests", "boolean", "RFC 9126 §6", _boolean, "Whether only pushed authorization requests are accepted.", {}),
        ("tls_client_certificate_bound_access_tokens", "boolean", "RFC 8705 §3.4", _boolean, "Whether access tokens are bound to the client's certificate.", {}),
        ("tls_client_auth_subject_dn", "string", _MTLS, _subject_dn, "The subject of the client's certificate.", {}),
        ("tls_client_auth_san_dns", "string", _MTLS, _san("DNS name", _is_dns_name), "A DNS name in the client's certificate.", {}),
        ("tls_client_auth_san_uri", "string", _MTLS, _san("URI", _is_uri), "A URI in the client's certificate.", {}),
        ("tls_client_auth_san_ip", "string", _MTLS, _san("IP address", _is_canonical_address), "An IP address in the client's certificate.", {}),
        ("tls_client_auth_san_email", "string", _MTLS, _san("e-mail address", is_email), "An e-mail address in the client's certificate.", {"personal": True}),
        ("use_mtls_endpoint_aliases", "boolean", "FAPI 2.0 §5.2.2.1.1", _boolean, "Whether the client uses the mutual-TLS endpoint aliases.", {}),
        ("dpop_bound_access_tokens", "boolean", "RFC 9449 §5.2", _boolean, "Whether access tokens are always bound to a DPoP key.", {}),
        ("introspection_signed_response_alg", "string", _INTROSPECTION, _text, "How introspection answers are signed.", {"offered": "introspection_signing_alg_values_supported"}),
        ("introspection_encrypted_response_alg", "string", _INTROSPECTION, _text, "How introspection answers' keys are encrypted.", {"offered": "introspection_encryption_alg_values_supported"}),
        ("introspection_encrypted_response_enc", "string", _INTROSPECTION, _text, "How introspection answers are encrypted.", {"default": _content_encryption("introspection_encrypted_response_alg"), "default_text": "A128CBC-HS256, with an alg", "offered": "introspection_encryption_enc_values_supported"}),
        ("post_logout_redirect_uris", "array of URLs", "OpenID Connect RP-Initiated Logout §3.1", _landing_pages, "Where people may be sent after signing out.", {"constant": []}),
        ("frontchannel_logout_uri", "URL", "OpenID Connect Front-Channel Logout §2", _landing_page, "A page that signs a person out when a browser loads it.", {}),
        ("frontchannel_logout_session_required", "boolean", "OpenID Connect Front-Channel Logout §2", _boolean, "Whether that page is told which session.", {}),
        ("backchannel_logout_uri", "URL", "OpenID Connect Back-Channel Logout §2.2", _logout_uri, "Where the server reports that a person signed out.", {}),
        ("backchannel_logout_session_required", "boolean", "OpenID Connect Back-Channel Logout §2.2", _boolean, "Whether that report says which session.", {}),
        ("authorization_details_types", "array of strings", "RFC 9396 §10", _texts, "The kinds of authorization details that the client asks for.", {"offered": "authorization_details_types_supported"}),
        ("organization_name", "string", _FEDERATION, _text, "Who owns the client, as it says itself.", {"localised": True}),
        ("description", "string", _FEDERATION, _text, "What the client is, in a sentence.", {"localised": True}),
        ("keywords", "array of strings", _FEDERATION, _texts, "Words that describe the client.", {}),
        ("information_uri", "URL", _FEDERATION, _page, "More about the client.", {"localised": True}),
        ("organization_uri", "URL", _FEDERATION, _page, "A page of the organization.", {"localised": True}),
        ("introspection_endpoint_auth_method", "string", "unregistered", _text, "How the client authenticates at the introspection endpoint: as at the token endpoint.", {"role": Role.DERIVED, "default": _token_endpoint_method, "default_text": "token_endpoint_auth_method"}),
        ("revocation_endpoint_auth_method", "string", "unregistered", _text, "How the client authenticates at the revocation endpoint: as at the token endpoint.", {"role": Role.DERIVED, "default": _token_endpoint_method, "default_text": "token_endpoint_auth_method"}),
        ("software_statement", "string", "RFC 7591 §2.3", _text, "A signed statement about the software.", {"feature": "software statements"}),
        ("claims_redirect_uris", "array of URLs", "UMA 2.0 Grant §2", _landing_pages, "Where UMA claims gathering returns to.", {"feature": "UMA"}),
        ("nfv_token_signed_response_alg", "string", _NFV, _text, "How NFV tokens are signed.", {"feature": "ETSI NFV"}),
        ("nfv_token_encrypted_response_alg", "string", _NFV, _text, "How NFV tokens' keys are encrypted.", {"feature": "ETSI NFV"}),
        ("nfv_token_encrypted_response_enc", "string", _NFV, _text, "How NFV tokens are encrypted.", {"feature": "ETSI NFV"}),
        ("client_registration_types", "array of strings", "OpenID Federation §5.1.2", _texts, "The federation registration types of the client.", {"feature": "OpenID Federation"}),
        ("signed_jwks_uri", "URL", "OpenID Federation §5.2.1", _https, "Where the client publishes a signed key set.", {"feature": "OpenID Federation"}),
        ("encrypted_response_enc_values_supported", "array of strings", "OpenID4VP §5.1", _texts, "How presentations may be encrypted.", {"feature": "OpenID4VP"}),
        ("vp_formats_supported", "object", "OpenID4VP §11.1", _object, "The credential formats of a verifier.", {"feature": "OpenID4VP"}),
        ("authorization_signed_response_alg", "string", _JARM, _text, "How authorization responses are signed.", {"feature": "JARM", "offered": "authorization_signing_alg_values_supported"}),
        ("authorization_encrypted_response_alg", "string", _JARM, _text, "How authorization responses' keys are encrypted.", {"feature": "JARM", "offered": "authorization_encryption_alg_values_supported"}),
        ("authorization_encrypted_response_enc", "string", _JARM, _text, "How authorization responses are encrypted.", {"feature": "JARM", "default": _content_encryption("authorization_encrypted_response_alg"), "default_text": "A128CBC-HS256, with an alg", "offered": "authorization_encryption_enc_values_supported"}),
        ("webhook_uris", "array of URLs", "Open Finance Brasil DCR §7.1", _webhooks, "Where the server may announce what happened.", {"feature": "webhooks"}),
        ("backchannel_token_delivery_mode", "string", _CIBA, _one_of("poll", "ping", "push"), "How backchannel tokens arrive.", {"feature": "CIBA"}),
        ("backchannel_client_notification_endpoint", "URL", _CIBA, _https, "Where backchannel tokens are announced.", {"feature": "CIBA"}),
        ("backchannel_authentication_request_signing_alg", "string", _CIBA, _text, "How backchannel requests are signed.", {"feature": "CIBA"}),
        ("backchannel_user_code_parameter", "boolean", _CIBA, _boolean, "Whether people enter a code.", {"feature": "CIBA"}),
    ),
    **{
        row.name: row
        for row in (
            _issued("client_id", "string", "RFC 7591 §3.2.1", "The client's identifier; never reused."),
            _issued("client_id_issued_at", "integer", "RFC 7591 §3.2.1", "When it was issued, in seconds since 1970."),
            _issued("client_secret", "string", "RFC 7591 §3.2.1", "The client's secret, where it needs one."),
            _issued(
                "client_secret_expires_at",
                "integer",
                "RFC 7591 §3.2.1",
                "When the secret ends, in seconds since 1970; 0 is never.",
            ),
            _issued("registration_access_token", "string", "RFC 7592 §3", "The token that manages this registration."),
            _issued("registration_client_uri", "URL", "RFC 7592 §3", "Where this registration is managed."),
        )
    },
}
# fmt: on
"""Every member by its name, in the order of decision and of the answer."""

ECHOED_EMPTY: Final = frozenset({"request_uris", "post_logout_redirect_uris"})
"""The two arrays that an answer writes out even when they are empty, as widespread servers do."""

NOT_IN_PUT: Final = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)
"""The four members that an update must not contain (RFC 7592 §2.2)."""

Reader = Callable[[Presented], tuple[Shaped, list[Finding]]]


class Plain(dict[str, Any]):
    """What was presented, and found to have the shape that the table asks for while it was read."""


def _checks(features: frozenset[str]) -> dict[str, Check]:
    """The members that a client can register where these features are served."""
    checks = {
        name: row.check
        for name, row in MEMBERS.items()
        if row.role is Role.CLIENT and (not row.feature or row.feature in features)
    }
    if "mobile" in features:  # UK Open Banking's word for native
        checks["application_type"] = _one_of("web", "native", "mobile")
    return checks


def reader(features: frozenset[str]) -> Reader:
    """`parse`, with the members of `features` beside those that every client may register."""
    checks = _checks(features) if features else _PLAIN_CHECKS
    return partial(_read, checks)


def _read(checks: Mapping[str, Check], presented: Presented) -> tuple[Shaped, list[Finding]]:
    if isinstance(presented, Plain):  # a feature adds members and values, and takes none away
        return Shaped(presented), []
    return _parse(checks, presented)


_REPORTED: Final = 50
"""Unknown members that are reported one by one."""


def parse(presented: Presented) -> tuple[Shaped, list[Finding]]:
    """Read what was presented by the table, reporting every fault of shape at once.

    `null`, `""` and `[]` mean that a member was omitted (RFC 7592 §2.2). Members that the table does not have are
    ignored (RFC 7591 §2) and named in the findings.
    """
    return _parse(_PLAIN_CHECKS, presented)


_PLAIN_CHECKS: Final = _checks(frozenset())


def _parse(checks: Mapping[str, Check], presented: Presented) -> tuple[Shaped, list[Finding]]:
    shaped: dict[str, Any] = {}
    findings: list[Finding] = []
    localised: list[str] = []
    for name, value in presented.items():
        check = checks.get(name)
        if check is not None:
            if not value and (value is None or value in ("", [])):
                continue
            if faults := check(value, name):
                findings.extend(faults)
            else:
                shaped[name] = value
            continue
        row = MEMBERS.get(name)
        if row is None:
            _parse_other(name, value, shaped, findings, localised)
        elif value is None or value in ("", []):
            continue
        elif row.role is Role.DERIVED:
            continue  # it follows from other members, and a client that sends its answer back repeats it
        else:
            findings.append(_without_effect(row))
    return Shaped(shaped), findings


def _without_effect(row: Member) -> Finding:
    if row.feature:
        return NOT_OFFERED.ignore(row.name, feature=row.feature)
    return SERVER_ONLY.ignore(row.name)


def _parse_other(name: str, value: Any, shaped: dict[str, Any], findings: list[Finding], localised: list[str]) -> None:
    """A name that is no row: a localised member (RFC 7591 §2.2), or nothing that is known here."""
    base, mark, tag = name.partition("#")
    row = MEMBERS.get(base)
    said = shown(name)
    if not mark or row is None or not row.localised:
        if len(findings) < _REPORTED:
            findings.append(UNKNOWN.ignore(said))
        return
    if not _LANGUAGE.fullmatch(tag):
        if len(findings) < _REPORTED:
            findings.append(LANGUAGE_TAG.ignore(said))
        return
    if value is None or value in ("", []):
        return
    localised.append(name.lower())
    if len(localised) > LIMITS.localised:
        if len(localised) == LIMITS.localised + 1:  # told once
            findings.append(LANGUAGES.refuse(said))
        return
    if localised[-1] in localised[:-1]:
        findings.append(LANGUAGE_TWICE.refuse(said))
        return
    if faults := row.check(value, name):
        findings.extend(faults)
        return
    shaped[name] = value


# --- plain requests ---------------------------------------------------------------------------------------------------


def read_plain(body: bytes) -> Plain | None:
    """A request as nearly all are, read and found in order in one step; None for any other, and for one with a fault.

    That is an object of known members in printable ASCII without escapes. Without a backslash, quotes stand round texts
    and nowhere else. So as many of them as the names and texts that were read have means that no member stands twice
    and that none is unknown. What is not read here is read member by member, with the same outcome and every fault told.
    """
    if not body.isascii() or b"\\" in body or b"\x7f" in body:
        return None
    try:
        members = _decode_plain(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    texts = len(members) + [*map(type, members.values())].count(str)
    for name in _PLAIN_LISTS.intersection(members):
        texts += len(members[name])
    if body.count(b'"') != 2 * texts:
        return None
    for name in _BEYOND_TYPES.intersection(members):
        if _PLAIN_CHECKS[name](members[name], name):
            return None
    return Plain(members)


_PlainText = Annotated[str, msgspec.Meta(min_length=1, max_length=LIMITS.text_characters)]
_PlainItem = Annotated[str, msgspec.Meta(max_length=LIMITS.text_characters)]
_PlainTexts = Annotated[list[_PlainItem], msgspec.Meta(min_length=1, max_length=LIMITS.array_items)]
_PLAIN_TYPES: Final[Mapping[str, Any]] = {
    "string": _PlainText,
    "URL": _PlainText,
    "array of strings": _PlainTexts,
    "array of URLs": _PlainTexts,
    "boolean": bool,
}
"""What the parser of JSON sees to by itself. Objects and numbers are not plain."""
_PLAIN_MEMBERS: Final = {
    name: _PLAIN_TYPES[MEMBERS[name].type] for name in _PLAIN_CHECKS if MEMBERS[name].type in _PLAIN_TYPES
}
_PLAIN_LISTS: Final = frozenset(name for name, type_ in _PLAIN_MEMBERS.items() if type_ is _PlainTexts)
_BEYOND_TYPES: Final = frozenset(
    name for name in _PLAIN_MEMBERS if _PLAIN_CHECKS[name] not in (_text, _texts, _boolean)
)
"""Of these there is more to be checked."""
_decode_plain: Final = msgspec.json.Decoder(TypedDict("_PlainMembers", _PLAIN_MEMBERS, total=False)).decode  # type: ignore[operator]  # made of the table
