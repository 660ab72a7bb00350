"""Where redirect URIs and other URLs of a client may lead."""

from __future__ import annotations

import enum
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final, NamedTuple

from registrar.domain import uri as grammar
from registrar.domain.findings import Finding, listed, rule
from registrar.domain.redirect_uri import LOOPBACK_HOSTS, Kind
from registrar.policy.evidence import Facts
from registrar.policy.rules.applied import Hosts, Metadata, Verdict, named, said

_REDIRECT: Final = "invalid_redirect_uri"

OTHER_HOST: Final = rule(
    "rule.same_host",
    "RFC 7591 §5",
    "is on {host}, where no redirect URI is",
    "a URL on the host of a redirect URI: {accepted}",
)
SEVERAL_HOSTS: Final = rule(
    "rule.one_host",
    "RFC 7591 §5",
    "is on {host}, and another redirect URI is on {other}",
    "redirect URIs on one host, or a registration for each",
    error=_REDIRECT,
)
LOCALHOST: Final = rule(
    "rule.localhost",
    "RFC 8252 §8.3",
    "names localhost, which may resolve to another interface",
    "http://127.0.0.1 or http://[::1]",
    error=_REDIRECT,
)
HOST: Final = rule(
    "rule.redirect_hosts", "RFC 7591 §5", "leads to {host}, which is not allowed here", "{accepted}", error=_REDIRECT
)
DENIED: Final = rule(
    "rule.denied_hosts",
    "RFC 9700 §4.11.1",
    "leads to {host}, {reason}",
    "a host of the client's own",
    error=_REDIRECT,
)
KIND: Final = rule(
    "rule.redirect_kinds",
    "RFC 8252 §7",
    "is of the kind {kind}, which is not allowed here",
    "{accepted}",
    error=_REDIRECT,
)
PRIVATE_USE: Final = rule(
    "rule.private_use_schemes",
    "RFC 8252 §7.1",
    "has the scheme {scheme}, which is not the reverse of a domain name that somebody controls",
    "{accepted}",
    error=_REDIRECT,
)
TYPE: Final = rule(
    "rule.application_type",
    "OpenID Connect Registration §2",
    "is {kind}, which a client of the application_type {type} must not have",
    "{accepted}",
    error=_REDIRECT,
)

_LOCALHOST: Final = re.compile(r"http://localhost(?:[/:?]|\Z)", re.IGNORECASE)


class DenyList(enum.StrEnum):
    """A list of hosts that ships in `hosts.toml`, with a source and a reason for each."""

    OPEN_REDIRECTORS = "open_redirectors"
    USER_CONTENT = "user_content"


class _Listed(NamedTuple):
    hosts: Hosts
    reason: str


@cache
def deny_lists() -> Mapping[DenyList, _Listed]:
    """The lists that ship."""
    text = resources.files("registrar.policy").joinpath("hosts.toml").read_text("utf-8")
    tables = tomllib.loads(text)
    return MappingProxyType(
        {
            name: _Listed(Hosts.from_words([row["host"] for row in tables[name]["hosts"]]), tables[name]["reason"])
            for name in DenyList
        }
    )


def _kind(uri: str) -> Kind:
    scheme = uri.partition(":")[0].lower()
    return {"https": Kind.HTTPS, "http": Kind.LOOPBACK}.get(scheme, Kind.PRIVATE_USE)


def _redirects(metadata: Metadata) -> Iterator[tuple[str, str]]:
    """Each redirect URI, with the name that a finding gives it."""
    for at, uri in enumerate(metadata.get("redirect_uris", ())):
        yield f"redirect_uris[{at}]", uri


def _on_the_web(metadata: Metadata) -> Iterator[tuple[str, str]]:
    """The host of each https redirect URI, likewise."""
    for name, uri in _redirects(metadata):
        if uri[:6].lower() == "https:":
            yield name, grammar.host_of(uri)


def same_host(
    metadata: Metadata, _facts: Facts, *, members: tuple[str, ...], verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """The named URL members are on the host of a redirect URI (RFC 7591 §5). Apps without a web redirect are exempt."""
    names = [*named(metadata, members)]
    if not names:
        return
    hosts = {host for _, host in _on_the_web(metadata)}
    if not hosts:
        return
    for name in names:
        host = grammar.host_of(metadata[name])
        if host not in hosts:
            yield said(OTHER_HOST, verdict, name, host=host, accepted=listed(sorted(hosts)))


def one_host(metadata: Metadata, _facts: Facts, *, verdict: Verdict = "refuse") -> Iterator[Finding]:
    """All https redirect URIs are on one host."""
    first = ""
    for name, host in _on_the_web(metadata):
        first = first or host
        if host != first:
            yield said(SEVERAL_HOSTS, verdict, name, host=host, other=first)


def localhost(metadata: Metadata, _facts: Facts, *, verdict: Verdict = "warn") -> Iterator[Finding]:
    """Loopback redirects name an address, not `localhost` (RFC 8252 §8.3)."""
    for at, uri in enumerate(metadata.get("redirect_uris", ())):
        if _LOCALHOST.match(uri):
            yield said(LOCALHOST, verdict, f"redirect_uris[{at}]")


def redirect_hosts(
    metadata: Metadata, _facts: Facts, *, allowed: Hosts, verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """Redirect URIs on the web lead to one of these hosts; `*.example.com` is every host below it and not itself."""
    for name, host in _on_the_web(metadata):
        if host not in allowed:
            yield said(HOST, verdict, name, host=host, accepted=listed([str(allowed)]))


_EVERY_LIST: Final = tuple(DenyList)
_NO_HOSTS: Final = Hosts()


def denied_hosts(
    metadata: Metadata,
    _facts: Facts,
    *,
    lists: tuple[DenyList, ...] = _EVERY_LIST,
    hosts: Hosts = _NO_HOSTS,
    exceptions: Hosts = _NO_HOSTS,
    verdict: Verdict = "refuse",
) -> Iterator[Finding]:
    """Redirect URIs on the web do not lead to these hosts: those of the named lists, and others, but for the exceptions."""
    for name, host in _on_the_web(metadata):
        if host in exceptions:
            continue
        if host in hosts:
            yield said(DENIED, verdict, name, host=host, reason="which is denied here")
            continue
        for found in map(deny_lists().__getitem__, lists):
            if host in found.hosts:
                yield said(DENIED, verdict, name, host=host, reason=listed([found.reason]))
                break


def redirect_kinds(
    metadata: Metadata, _facts: Facts, *, allowed: tuple[Kind, ...], verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """Redirect URIs are of these kinds: `https`, `loopback` (http on this machine), `private_use` (an app's scheme)."""
    for name, uri in _redirects(metadata):
        if (kind := _kind(uri)) not in allowed:
            yield said(KIND, verdict, name, kind=kind, accepted=listed(allowed))


def private_use_schemes(
    metadata: Metadata, _facts: Facts, *, exceptions: tuple[str, ...] = (), verdict: Verdict = "refuse"
) -> Iterator[Finding]:
    """An app's own scheme is the reverse of a domain name (RFC 8252 §7.1), but for the exceptions, such as `cursor`."""
    for name, uri in _redirects(metadata):
        if _kind(uri) is not Kind.PRIVATE_USE:
            continue
        scheme = uri.partition(":")[0].lower()
        if "." not in scheme.strip(".") and scheme not in exceptions:
            accepted = listed(["a scheme such as com.example.app", *exceptions])
            yield said(PRIVATE_USE, verdict, name, scheme=scheme, accepted=accepted)


def application_type(metadata: Metadata, _facts: Facts, *, verdict: Verdict = "refuse") -> Iterator[Finding]:
    """Redirect URIs fit the `application_type`: https for web, an app's own scheme or http on this machine for native.

    For native clients https is taken where it leads elsewhere, which the app has claimed (RFC 8252 §7.2). Web clients
    with the implicit grant have no redirect URI on this machine at all.
    """
    native = metadata.get("application_type") == "native"
    elsewhere = native or "implicit" in metadata.get("grant_types", ())
    accepted = _NATIVE if native else _WEB
    for name, uri in _redirects(metadata):
        kind = _kind(uri)
        if elsewhere and kind is Kind.HTTPS and grammar.host_of(uri) in LOOPBACK_HOSTS:
            what = "https on this machine"
        elif not native and kind is not Kind.HTTPS:
            what = _SPOKEN[kind]
        else:
            continue
        yield said(TYPE, verdict, name, kind=what, type="native" if native else "web", accepted=listed([accepted]))


_NATIVE: Final = "http on 127.0.0.1, [::1] or localhost, an app's own scheme, or https on a host of its own"
_WEB: Final = "https; an app on this machine is native"
_SPOKEN: Final = {Kind.LOOPBACK: "http on this machine", Kind.PRIVATE_USE: "an app's own scheme"}
