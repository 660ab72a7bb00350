"""The grammar of RFC 3986 that every URL member shares."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_domain_redirect_uri import near_uris, plain_uris

from registrar.domain import uri
from registrar.domain.metadata import MEMBERS


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("HTTPS://Host/p?q#f", ("https", "Host", "/p", "q", "f")),
        ("https://host", ("https", "host", "", "", None)),
        ("https://host#", ("https", "host", "", "", "")),
        ("a:b", ("a", None, "b", "", None)),
        ("a:///b?", ("a", "", "/b", "", None)),
        ("a:?b?c#d?e", ("a", None, "", "b?c", "d?e")),
    ],
)
def test_split(text: str, parts: tuple[str, str | None, str, str, str | None]) -> None:
    """The components stand as they were written, but for the case of the scheme."""
    assert uri.split(text) == parts


@pytest.mark.parametrize("text", ["", "a", "/a", "//a", "1a:b", "-a:b", "é:b"])
def test_split_needs_a_scheme(text: str) -> None:
    """What has no scheme is no absolute URI."""
    assert uri.split(text) is None


@pytest.mark.parametrize(
    ("authority", "host", "port"),
    [
        ("Host.Example", "host.example", None),
        ("host:80", "host", "80"),
        ("host:", "host", ""),
        ("[::A]:80", "[::a]", "80"),
        ("[::A]", "[::a]", None),
        ("a:b:c", "a", "b:c"),
        ("[::1]x", "[::1]x", None),
        ("[::1", "[::1", None),
        ("", "", None),
    ],
)
def test_host_and_port(authority: str, host: str, port: str | None) -> None:
    """Host and port are told apart; a malformed authority gives a host that is none."""
    assert uri.host_and_port(authority) == (host, port)


@pytest.mark.parametrize(
    "host",
    [
        "a",
        "a.b",
        "1a",
        "a.1b",
        "xn--a",
        "a_b.c",
        "1.2.3.4",
        "255.255.255.255",
        "[::1]",
        "[2001:db8::1]",
        "[::ffff:1.2.3.4]",
    ],
)
def test_hosts(host: str) -> None:
    """DNS names, dotted IPv4 addresses and bracketed IPv6 addresses are hosts."""
    assert uri.is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "a.", ".a", "a..b", "-a", "a-", "a-.b", "A", "é", "a b", "a%20b", "a/b", "a" * 64, "a." * 127 + "b"),
        *("1", "1.2", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "0x7f.0.0.1", "1.2.3.0x4", "a.1", "0x"),
        *("[", "[]", "[::1", "[::1x", "[:::1]", "[1.2.3.4]", "[::1%25lo]", "[::1%1]", "[g::1]", "::1"),
    ],
)
def test_no_hosts(host: str) -> None:
    """What browsers would read in several ways, or not at all, is no host."""
    assert not uri.is_host(host)


@pytest.mark.parametrize(
    ("text", "good"),
    [("1", True), ("65535", True), ("0", False), ("65536", False), ("", False), ("x", False), ("٣", False)],
)
def test_ports(text: str, good: bool) -> None:
    """A port is a number that something can listen on."""
    assert uri.is_port(text) is good


def test_odd_characters() -> None:
    """The first character that cannot stand in a URI is named by its code point."""
    assert uri.odd_character("https://a/b c\n") == "U+0020"
    assert uri.odd_character("https://a/\U0001f600") == "U+1F600"
    assert uri.odd_character("https://a/b?c=%20&d[]#!$'()*+,;=") == ""


@pytest.mark.parametrize(
    ("text", "host", "origin"),
    [
        ("https://A.example/x", "a.example", ("https", "a.example", 443)),
        ("https://a.example:443/x", "a.example", ("https", "a.example", 443)),
        ("https://a.example:8443", "a.example", ("https", "a.example", 8443)),
        ("http://[::1]/", "[::1]", ("http", "[::1]", 80)),
        ("com.example:/x", "", ("com.example", "", None)),
        ("com.example://h:abc/x", "h", ("com.example", "h", None)),
        ("com.example://h:99999/x", "h", ("com.example", "h", None)),
        ("nothing", "", ("", "", None)),
    ],
)
def test_host_and_origin(text: str, host: str, origin: tuple[str, str, int | None]) -> None:
    """The host and the origin of a URL, default ports filled in (RFC 6454 §4)."""
    assert uri.host_of(text) == host
    assert uri.origin_of(text) == origin


@given(st.one_of(st.text(st.characters(exclude_categories=())), near_uris))
def test_everything_is_total(text: str) -> None:
    """No text makes any of these functions fail."""
    uri.split(text)
    uri.host_and_port(text)
    uri.is_host(text)
    uri.is_port(text)
    uri.host_of(text)
    uri.origin_of(text)
    uri.odd_character(text)
    uri.bad_percent(text)


@given(st.one_of(near_uris, plain_uris))
def test_plain_web_is_a_subset(text: str) -> None:
    """The pattern for plain URLs accepts nothing that the rules for URL members would refuse."""
    if not uri.is_plain_web(text):
        return
    parts = uri.split(text)
    assert parts is not None
    assert parts.authority
    host, port = uri.host_and_port(parts.authority)
    assert (parts.scheme, port, parts.fragment) == ("https", None, None)
    assert uri.is_host(host)
    assert not uri.odd_character(text)
    assert not uri.bad_percent(text)
    assert text.isprintable()


@pytest.mark.parametrize("member", ["client_uri", "jwks_uri", "request_uris"])
@given(text=st.one_of(near_uris, plain_uris))
def test_plain_web_changes_no_verdict(member: str, text: str) -> None:
    """With the pattern switched off, each URL member says the same about each text."""
    row = MEMBERS[member]
    value = [text] if row.type.startswith("array") else text
    with pytest.MonkeyPatch.context() as patched:
        fast = list(row.check(value, member))
        patched.setattr(uri, "is_plain_web", lambda _: False)
        assert fast == list(row.check(value, member))
