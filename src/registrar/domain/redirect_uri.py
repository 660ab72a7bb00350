"""Redirect URIs: RFC 3986 grammar, RFC 8252 kinds, and what no policy may allow.

A redirect URI is parsed to be judged and for nothing else: what is stored and echoed is the string that was sent, byte
for byte, because a later authorization request is compared with it by simple string comparison (RFC 3986 §6.2.1,
OpenID Connect Registration §2). So nothing here normalises, decodes or repairs.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from typing import Final

import msgspec

from registrar.domain import uri as grammar
from registrar.domain.findings import Finding, Rule, rule

LENGTH: Final = 2048
"""Characters of one redirect URI at the most."""

ACCEPTED: Final = "https://host/path, http://127.0.0.1[:port]/path (or [::1], localhost), or a private-use scheme:/path"


class Kind(enum.StrEnum):
    """Where a redirect URI leads (RFC 8252 §7, RFC 7591 §5)."""

    HTTPS = "https"
    LOOPBACK = "loopback"
    PRIVATE_USE = "private_use"


class RedirectURI(msgspec.Struct, frozen=True):
    """A judged redirect URI: the string as sent, its kind, and the parts that later rules look at."""

    text: str
    kind: Kind
    scheme: str
    host: str
    """Lower case; empty for a private-use scheme without authority."""
    port: int | None
    """As written, or None."""

    @property
    def leads_to_one(self) -> bool:
        """Whether only whoever has its host answers there: https, and not to the machine that the browser runs on."""
        return self.kind is Kind.HTTPS and not is_this_machine(self.host)


_HERE: Final = frozenset({"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"})
_BELOW: Final = (".localhost", ".localdomain", ".localdomain4", ".localdomain6")


def is_this_machine(host: str) -> bool:
    """Whether a host, in lower case, is by name or number the machine that asks (RFC 6761 §6.3, RFC 1122 §3.2.1.3)."""
    if host in _HERE or host.endswith(_BELOW):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _rule(name: str, source: str, reason: str, accepted: str = ACCEPTED) -> Rule:
    return rule(f"redirect_uri.{name}", source, reason, accepted, error="invalid_redirect_uri")


LENGTH_LIMIT: Final = _rule(
    "length", "engineering", "a redirect URI has at most {limit} characters", "at most {limit} characters"
)
CHARACTERS: Final = _rule(
    "characters",
    "RFC 3986 §2",
    "{uri} holds {character}, which a URI cannot carry unencoded",
    "the characters of RFC 3986, others percent-encoded; a host in its A-label form",
)
PERCENT: Final = _rule(
    "percent_encoding",
    "RFC 3986 §2.1",
    "{uri} holds a percent sign that is not followed by two hexadecimal digits",
    "%HH",
)
ABSOLUTE: Final = _rule("absolute", "RFC 6749 §3.1.2", "{uri} is not an absolute URI")
FRAGMENT: Final = _rule(
    "fragment",
    "RFC 6749 §3.1.2",
    "{uri} has a fragment, which a redirect URI must not",
    "the same URI without # and what follows it",
)
SCHEME: Final = _rule(
    "scheme", "RFC 7591 §5", "the scheme {scheme} runs code, reads local data or leads nowhere an application listens"
)
USERINFO: Final = _rule(
    "userinfo",
    "RFC 3986 §3.2.1",
    "{uri} has user information before its host, which misleads people about where it leads",
    "the same URI without anything before the host",
)
HOST: Final = _rule(
    "host",
    "RFC 3986 §3.2.2",
    "{host} is not a host name or an IP address in canonical form",
    "a DNS name, a dotted IPv4 address or an [IPv6] address",
)
PORT: Final = _rule("port", "RFC 3986 §3.2.3", "{port} is not a port", "1 to 65535")
PLAIN_HTTP: Final = _rule(
    "plain_http",
    "RFC 7591 §5, RFC 9700 §2.6",
    "plain http leads to {host}, which is not this machine, so the code could be read on the way",
    "https, or http on 127.0.0.1, [::1] or localhost exactly",
)
WILDCARD: Final = _rule(
    "wildcard",
    "OAuth 2.1 §2.3.1",
    "{uri} holds a wildcard; a redirect URI is registered whole",
    "each redirect URI written out",
)
DOT_SEGMENTS: Final = _rule(
    "dot_segments",
    "RFC 3986 §5.2.4",
    "{uri} has a . or .. segment, which a browser would resolve to another path",
    "the path it resolves to",
)
OPAQUE: Final = _rule(
    "private_use_path", "RFC 8252 §7.1", "{uri} has no path after its scheme", "scheme:/path or scheme://authority/path"
)

_DENIED: Final = """
    about afp android-app applescript bitcoin blob brave callto chrome chrome-extension chrome-search
    chrome-untrusted cid cifs content data devtools dict ecmascript edge externalfile facetime facetime-audio feed
    file filesystem finger ftp ftps git git+ssh gopher hcp help imap intent irc ircs isolated-app itms-apps
    itms-services its jar javascript jnlp jnlps jscript ldap ldapi ldaps livescript macappstore magnet mailto market
    mhtml microsoft-edge mid mk mms mocha moz-extension news nfs nntp onenote openpgp4fpr opera pop res resource
    rlogin rsync rtsp safari-extension search search-ms sftp shell sip sips smb sms smsto ssh svn svn+ssh tel telnet
    tftp tn3270 urn vbscript view-source vivaldi vnc wais webcal ws wss wtai wyciwyg x-apple.systempreferences
    x-man-page
"""
DENIED_SCHEMES: Final = frozenset(_DENIED.split())
"""Schemes that a browser executes, reads locally or hands to something that is not the client (compared in lower case)."""

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "[::1]", "localhost"})
"""Compared as a whole: a prefix or suffix of a host name proves nothing (`localhost.evil.example`)."""

_DOT_SEGMENT: Final = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
# The plain cases, by far the most common: https to a DNS name or http to this machine, nothing unusual anywhere. A
# subset of what the rules below admit, kept because it takes a fifth of the time; a property test holds it so.
# Windows' own handlers, but for the two in which its apps receive redirects; and what any website may register.
_DENIED_PREFIX: Final = re.compile(r"ms-(?!app\Z|appx-web\Z)|web\+")
_PLAIN_LENGTH: Final = 256
_PLAIN: Final = re.compile(
    r"(?:https://(?:[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}"
    r"|http://(?:127\.0\.0\.1|localhost|\[::1\])(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?)"
    r"(?:/[A-Za-z0-9_~\-]+)*/?"
)
_LOOPBACK_PORT: Final = re.compile(r"\A(http://(?:\[::1\]|[^/?:\[]+)):[0-9]+", re.IGNORECASE)


def is_plain(uri: str) -> bool:
    """Whether a redirect URI is so plain that no rule could object to it."""
    return len(uri) < _PLAIN_LENGTH and _PLAIN.fullmatch(uri) is not None


def judge(uri: str, member: str) -> RedirectURI | Finding:
    """Judge one redirect URI; `member` names it in a refusal, for instance `redirect_uris[0]`."""
    if len(uri) > LENGTH:
        return LENGTH_LIMIT.refuse(member, limit=LENGTH)
    if odd := grammar.odd_character(uri):
        return CHARACTERS.refuse(member, uri=uri, character=odd)
    if grammar.bad_percent(uri):
        return PERCENT.refuse(member, uri=uri)
    if "#" in uri:  # a bare trailing # too: RFC 6749 §3.1.2 forbids the component, and an empty one is a component
        return FRAGMENT.refuse(member, uri=uri)
    if "*" in uri or "%2a" in uri.lower():
        return WILDCARD.refuse(member, uri=uri)
    parts = grammar.split(uri)
    if parts is None:
        return ABSOLUTE.refuse(member, uri=uri)
    if parts.scheme in DENIED_SCHEMES or _DENIED_PREFIX.match(parts.scheme):
        return SCHEME.refuse(member, scheme=parts.scheme)
    if _DOT_SEGMENT.search(parts.path):
        return DOT_SEGMENTS.refuse(member, uri=uri)
    if "@" in (parts.authority or ""):
        return USERINFO.refuse(member, uri=uri)
    if parts.scheme in ("http", "https"):
        return _web(uri, member, parts)
    return _private_use(uri, member, parts)


def _private_use(uri: str, member: str, parts: grammar.Parts) -> RedirectURI | Finding:
    """An app's own scheme (RFC 8252 §7.1): its authority is a name inside the app, not a host to be resolved."""
    if parts.authority is None and not parts.path.startswith("/"):
        return OPAQUE.refuse(member, uri=uri)
    if "[" in uri or "]" in uri:
        return CHARACTERS.refuse(member, uri=uri, character="a square bracket")
    return RedirectURI(uri, Kind.PRIVATE_USE, parts.scheme, (parts.authority or "").lower(), None)


def _web(uri: str, member: str, parts: grammar.Parts) -> RedirectURI | Finding:
    if not parts.authority:
        return ABSOLUTE.refuse(member, uri=uri)
    host, port = grammar.host_and_port(parts.authority)
    if not grammar.is_host(host):
        return HOST.refuse(member, host=parts.authority)
    if "[" in parts.path or "]" in parts.path or "[" in parts.query or "]" in parts.query:
        return CHARACTERS.refuse(member, uri=uri, character="a square bracket outside an IPv6 address")
    if port is not None and not grammar.is_port(port):
        return PORT.refuse(member, port=port or "an empty port")
    number = int(port) if port else None
    if parts.scheme == "https":
        return RedirectURI(uri, Kind.HTTPS, "https", host, number)
    if host not in LOOPBACK_HOSTS:
        return PLAIN_HTTP.refuse(member, host=host)
    return RedirectURI(uri, Kind.LOOPBACK, "http", host, number)


def matches(registered: str, requested: str) -> bool:
    """Whether a redirect URI in a request is the registered one: simple string comparison (RFC 9700 §4.1.3).

    The port of a loopback redirect is chosen by the operating system at run time, so there, and only there, any port
    matches (RFC 8252 §7.3), whether or not one was registered.
    """
    if registered == requested:
        return True
    known, asked = judge(registered, ""), judge(requested, "")
    if not isinstance(known, RedirectURI) or not isinstance(asked, RedirectURI):
        return False
    if known.kind is not Kind.LOOPBACK or asked.kind is not Kind.LOOPBACK:
        return False
    return _without_port(registered) == _without_port(requested)


def _without_port(uri: str) -> str:
    return _LOOPBACK_PORT.sub(r"\1", uri, count=1)
