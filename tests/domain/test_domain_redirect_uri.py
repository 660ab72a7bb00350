"""Redirect URIs: what is accepted, what is refused by which rule, and what a request may differ in."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registrar.domain import metadata, redirect_uri
from registrar.domain.findings import RULES, Finding, Verdict
from registrar.domain.metadata import Presented
from registrar.domain.redirect_uri import DENIED_SCHEMES, LENGTH, Kind, RedirectURI, judge, matches

ACCEPTED = [
    ("https://app.example/cb", Kind.HTTPS, "https", "app.example", None),
    ("https://app.example", Kind.HTTPS, "https", "app.example", None),
    ("https://app.example/", Kind.HTTPS, "https", "app.example", None),
    ("https://app.example:8443/cb", Kind.HTTPS, "https", "app.example", 8443),
    ("https://app.example:443/cb", Kind.HTTPS, "https", "app.example", 443),
    ("https://app.example:65535/cb", Kind.HTTPS, "https", "app.example", 65535),
    ("https://app.example/cb?tenant=a%20b&x=", Kind.HTTPS, "https", "app.example", None),
    ("HTTPS://App.Example/CB", Kind.HTTPS, "https", "app.example", None),
    ("https://xn--bcher-kva.example/cb", Kind.HTTPS, "https", "xn--bcher-kva.example", None),
    ("https://a_b.example/", Kind.HTTPS, "https", "a_b.example", None),
    ("https://192.0.2.7/cb", Kind.HTTPS, "https", "192.0.2.7", None),
    ("https://[2001:db8::7]:8443/cb", Kind.HTTPS, "https", "[2001:db8::7]", 8443),
    ("https://app.example//cb/...", Kind.HTTPS, "https", "app.example", None),
    ("https://app.example/%C3%A9", Kind.HTTPS, "https", "app.example", None),
    ("https://app.example/cb?next=/../x", Kind.HTTPS, "https", "app.example", None),
    ("https://127.0.0.1/cb", Kind.HTTPS, "https", "127.0.0.1", None),
    ("http://localhost:9000/callback", Kind.LOOPBACK, "http", "localhost", 9000),
    ("http://LocalHost/callback", Kind.LOOPBACK, "http", "localhost", None),
    ("http://127.0.0.1/cb", Kind.LOOPBACK, "http", "127.0.0.1", None),
    ("http://127.0.0.1:60999/cb?x=1", Kind.LOOPBACK, "http", "127.0.0.1", 60999),
    ("http://[::1]:51004/", Kind.LOOPBACK, "http", "[::1]", 51004),
    ("http://localhost", Kind.LOOPBACK, "http", "localhost", None),
    ("com.example.app:/cb", Kind.PRIVATE_USE, "com.example.app", "", None),
    ("com.example.app://cb", Kind.PRIVATE_USE, "com.example.app", "cb", None),
    ("com.example.app:///cb", Kind.PRIVATE_USE, "com.example.app", "", None),
    ("cursor://Anysphere.cursor-retrieval/oauth/cb", Kind.PRIVATE_USE, "cursor", "anysphere.cursor-retrieval", None),
    ("x-app+1://cb:name/x", Kind.PRIVATE_USE, "x-app+1", "cb:name", None),
]

REFUSED = [
    ("length", "https://app.example/" + "a" * LENGTH),
    ("characters", "https://app.example/a b"),
    ("characters", "https://app.example/cb\n"),
    ("characters", "https://app.example/cb\x00"),
    ("characters", "\thttps://app.example/cb"),
    ("characters", "https://app.example\\@evil.example/cb"),
    ("characters", "https://bücher.example/cb"),
    ("characters", "https://app.example/é"),
    ("characters", "https://app.example/\u202ecb"),
    ("characters", "https://app.example/\ud800"),
    ("characters", 'https://app.example/"cb"'),
    ("characters", "https://app.example/<cb>"),
    ("characters", "https://app.example/{cb}"),
    ("characters", "https://app.example/a[0]"),
    ("characters", "https://app.example/cb?a[0]=1"),
    ("characters", "com.example.app://[x]/cb"),
    ("percent_encoding", "https://app.example/%"),
    ("percent_encoding", "https://app.example/%4"),
    ("percent_encoding", "https://app.example/%zz"),
    ("absolute", ""),
    ("absolute", "/cb"),
    ("absolute", "cb"),
    ("absolute", "//app.example/cb"),
    ("absolute", "app.example/cb"),
    ("absolute", "1x:/cb"),
    ("absolute", ":/cb"),
    ("absolute", "https:"),
    ("absolute", "https:/app.example/cb"),
    ("absolute", "https:app.example"),
    ("absolute", "https:///cb"),
    ("absolute", "https://"),
    ("absolute", "http:///cb"),
    ("fragment", "https://app.example/cb#"),
    ("fragment", "https://app.example/cb#x"),
    ("fragment", "http://127.0.0.1/#/cb"),
    ("fragment", "com.example.app:/cb#x"),
    ("userinfo", "https://app.example@evil.example/cb"),
    ("userinfo", "https://app.example:443@evil.example/cb"),
    ("userinfo", "http://localhost@evil.example/cb"),
    ("userinfo", "https://@app.example/cb"),
    ("userinfo", "com.example.app://user@host/cb"),
    ("host", "https://exa$mple.com/cb"),
    ("host", "https://-a.example/cb"),
    ("host", "https://a-.example/cb"),
    ("host", "https://a..example/cb"),
    ("host", "https://app.example./cb"),
    ("host", "https://.example/cb"),
    ("host", "https://%61pp.example/cb"),
    ("host", "https://" + "a" * 64 + ".example/cb"),
    ("host", "https://" + ".".join(["a" * 60] * 5) + "/cb"),
    ("host", "https://:443/cb"),
    ("host", "https://[::1/cb"),
    ("host", "https://[::1x/cb"),
    ("host", "https://[::1]x/cb"),
    ("host", "https://[]/cb"),
    ("host", "https://[::1%25eth0]/cb"),
    ("host", "https://[v1.x]/cb"),
    ("host", "https://2130706433/cb"),
    ("host", "https://127.1/cb"),
    ("host", "https://0x7f000001/cb"),
    ("host", "https://0x7f.1/cb"),
    ("host", "https://0177.0.0.1/cb"),
    ("host", "https://256.0.0.1/cb"),
    ("host", "http://127.0.0.01/cb"),
    ("host", "https://evil.0/cb"),
    ("port", "https://app.example:/cb"),
    ("port", "https://app.example:0/cb"),
    ("port", "https://app.example:65536/cb"),
    ("port", "https://app.example:99999999999/cb"),
    ("port", "https://app.example:8x/cb"),
    ("port", "https://app.example:-1/cb"),
    ("port", "http://127.0.0.1:00000/cb"),
    ("port", "http://127.0.0.1:65536/cb"),
    ("port", "http://localhost:69999"),
    ("port", "http://[::1]:123456/"),
    ("port", "http://localhost:80:80/cb"),
    ("plain_http", "http://app.example/cb"),
    ("plain_http", "HTTP://app.example/cb"),
    ("plain_http", "http://localhost.evil.example/cb"),
    ("plain_http", "http://evil-localhost/cb"),
    ("plain_http", "http://127.0.0.1.nip.io/cb"),
    ("plain_http", "http://127.0.0.1.evil.example:80/cb"),
    ("plain_http", "http://[::ffff:127.0.0.1]/cb"),
    ("plain_http", "http://[::2]/cb"),
    ("plain_http", "http://127.0.0.2/cb"),
    ("plain_http", "http://0.0.0.0/cb"),
    ("plain_http", "http://192.168.1.1/cb"),
    ("wildcard", "*"),
    ("wildcard", "https://*"),
    ("wildcard", "https://*.example.com/cb"),
    ("wildcard", "https://app.example/*"),
    ("wildcard", "https://app.example/%2a"),
    ("wildcard", "https://app.example/%2A?x"),
    ("wildcard", "https://app.example/cb?x=*"),
    ("wildcard", "com.example.app://*"),
    ("dot_segments", "https://app.example/a/../cb"),
    ("dot_segments", "https://app.example/.."),
    ("dot_segments", "https://app.example/./cb"),
    ("dot_segments", "https://app.example/%2e%2E/cb"),
    ("dot_segments", "https://app.example/.%2e"),
    ("dot_segments", "http://127.0.0.1/a/."),
    ("dot_segments", "com.example.app:/../cb"),
    ("private_use_path", "com.example.app:cb"),
    ("private_use_path", "com.example.app:"),
    ("private_use_path", "myapp:?x"),
]


def refused(uri: str) -> Finding:
    """The finding that refuses this URI."""
    found = judge(uri, "redirect_uris[0]")
    assert isinstance(found, Finding), found
    return found


@pytest.mark.requirement("R7591-61", "BASE-3", "BASE-10", "D-1", "D-2", "SEED-42")
@pytest.mark.parametrize(("uri", "kind", "scheme", "host", "port"), ACCEPTED)
def test_accepted(uri: str, kind: Kind, scheme: str, host: str, port: int | None) -> None:
    """The three kinds of RFC 8252 and RFC 7591 §5 are told apart, and the text stays as it was sent."""
    assert judge(uri, "redirect_uris[0]") == RedirectURI(uri, kind, scheme, host, port)


@pytest.mark.requirement("BASE-1", "BASE-2", "BASE-4", "BASE-8", "BASE-11", "OIDC-6", "R7591-61", "SEED-68", "WILD-1")
@pytest.mark.parametrize(("rule", "uri"), REFUSED)
def test_refused(rule: str, uri: str) -> None:
    """Each URI is refused by the rule that says what is wrong with it, in an error of its own, in printable ASCII."""
    found = refused(uri)

    assert not redirect_uri.is_plain(uri)
    assert found.rule == f"redirect_uri.{rule}"
    assert (found.error, found.verdict, found.member) == ("invalid_redirect_uri", Verdict.REFUSED, "redirect_uris[0]")
    assert found.accepted
    assert "{limit}" not in found.reason + found.accepted
    assert (found.reason + found.accepted).isascii()
    assert (found.reason + found.accepted).isprintable()


def test_every_rule_is_reached() -> None:
    """The table above, and the three rules of the array itself, leave out no rule about redirect URIs."""
    ours = {name for name in RULES if name.startswith("redirect_uri.")}
    of_the_array = {"redirect_uri.type", "redirect_uri.count", "redirect_uri.duplicate"}

    assert ours == {f"redirect_uri.{rule}" for rule, _ in REFUSED} | {"redirect_uri.scheme"} | of_the_array


@pytest.mark.requirement("R7591-61", "WILD-1")
@pytest.mark.parametrize("scheme", sorted(DENIED_SCHEMES))
def test_denied_schemes(scheme: str) -> None:
    """A scheme that runs code or leads elsewhere is refused in every form and letter case."""
    spellings = {scheme, scheme.upper(), scheme.title(), scheme[0].upper() + scheme[1:]}
    for uri in (f"{spelled}{rest}" for spelled in spellings for rest in (":x", ":/x", "://host/x", ":alert(1)", ":")):
        assert refused(uri).rule == "redirect_uri.scheme", uri


@pytest.mark.requirement("R7591-61")
@pytest.mark.parametrize(
    "scheme", ["javascript", "data", "file", "blob", "about", "vbscript", "ftp", "ws", "wss", "urn"]
)
def test_the_dangerous_ones_are_denied(scheme: str) -> None:
    """The list holds the schemes that are known to be abused."""
    assert scheme in DENIED_SCHEMES


@pytest.mark.requirement("R7591-61")
@pytest.mark.parametrize(
    "uri", ["data:text/html,<script>alert(1)</script>", "java\nscript:alert(1)", " javascript:alert(1)"]
)
def test_disguised_schemes(uri: str) -> None:
    """What a browser would clean up into a dangerous scheme does not pass either."""
    assert refused(uri).rule in {"redirect_uri.characters", "redirect_uri.scheme"}


def test_length_is_exact() -> None:
    """A URI of the greatest length is accepted, one more character is not."""
    longest = "https://app.example/" + "a" * (LENGTH - len("https://app.example/"))

    assert isinstance(judge(longest, "x"), RedirectURI)
    assert refused(longest + "a").rule == "redirect_uri.length"


@pytest.mark.parametrize("loopback", ["http://127.0.0.1", "http://localhost", "http://[::1]"])
@pytest.mark.parametrize(("port", "good"), [("1", True), ("65535", True), ("0", False), ("65536", False), ("", False)])
def test_ports_of_loopback(loopback: str, port: str, good: bool) -> None:
    """A port is 1 to 65535, on loopback as elsewhere."""
    assert isinstance(judge(f"{loopback}:{port}/cb", "x"), RedirectURI) is good


# --- the array ----------------------------------------------------------------------------------------------------------


def faults(value: object) -> list[tuple[str, str]]:
    """Rule and member of each fault that the parser finds in `redirect_uris`."""
    shaped, findings = metadata.parse(Presented({"redirect_uris": value}))
    assert ("redirect_uris" in shaped) is not bool(findings)
    assert {one.error for one in findings} <= {"invalid_redirect_uri"}
    return [(one.rule, one.member) for one in findings]


@pytest.mark.requirement("R7591-2", "META-1")
@pytest.mark.parametrize("value", ["https://app.example/cb", 1, True, {"0": "x"}, 1.5])
def test_the_array_is_one(value: object) -> None:
    """A redirect_uris that is no array is refused as a redirect URI error."""
    assert faults(value) == [("redirect_uri.type", "redirect_uris")]


@pytest.mark.requirement("OIDC-8", "OIDC-47")
def test_every_item_is_judged() -> None:
    """Not only the first: each fault is named with its place."""
    assert faults(["https://ok.example/cb", "http://evil.example", None, "https://ok.example/#", 7]) == [
        ("redirect_uri.plain_http", "redirect_uris[1]"),
        ("redirect_uri.type", "redirect_uris[2]"),
        ("redirect_uri.fragment", "redirect_uris[3]"),
        ("redirect_uri.type", "redirect_uris[4]"),
    ]


@pytest.mark.requirement("BASE-11")
def test_twice_and_too_many() -> None:
    """A redirect URI stands once, compared byte for byte, and there are at most twenty."""
    assert faults(["https://a.example/x", "https://a.example/x"]) == [("redirect_uri.duplicate", "redirect_uris[1]")]
    assert faults(["https://a.example/x", "https://a.example/X", "https://A.example/x"]) == []
    assert faults([f"https://a.example/{at}" for at in range(20)]) == []
    assert faults([f"https://a.example/{at}" for at in range(21)]) == [("redirect_uri.count", "redirect_uris")]


@pytest.mark.requirement("D-7", "OIDC-37", "OIDC-46")
def test_the_array_is_kept_as_sent() -> None:
    """Order and bytes of what was sent are what is registered."""
    sent = [uri for uri, *_ in ACCEPTED][:20]

    assert metadata.parse(Presented({"redirect_uris": sent}))[0]["redirect_uris"] == sent


# --- what a request may differ in -----------------------------------------------------------------------------------------


@pytest.mark.requirement("BASE-6", "D-12", "WILD-11")
@pytest.mark.parametrize(
    ("registered", "requested"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb"),
        ("http://[::1]/cb?x=1", "http://[::1]:8080/cb?x=1"),
        ("http://localhost:3000", "http://localhost:3001"),
        ("HTTP://localhost:3000/cb", "HTTP://localhost:3001/cb"),
        ("https://app.example/cb", "https://app.example/cb"),
        ("com.example.app:/cb", "com.example.app:/cb"),
        ("http://127.0.0.1:1/cb?u=http://127.0.0.1:2", "http://127.0.0.1:9/cb?u=http://127.0.0.1:2"),
    ],
)
def test_matches(registered: str, requested: str) -> None:
    """Equal strings match, and on loopback any port does."""
    assert matches(registered, requested)


@pytest.mark.requirement("BASE-5", "BASE-6", "D-12", "OIDC-1", "OIDC-46")
@pytest.mark.parametrize(
    ("registered", "requested"),
    [
        ("https://app.example/cb", "https://app.example/cb/"),
        ("https://app.example/cb", "https://app.example/CB"),
        ("https://app.example/cb", "https://APP.example/cb"),
        ("https://app.example/cb", "HTTPS://app.example/cb"),
        ("https://app.example/cb", "https://app.example/cb?x=1"),
        ("https://app.example/cb?", "https://app.example/cb"),
        ("https://app.example/~a", "https://app.example/%7Ea"),
        ("https://app.example/%7ea", "https://app.example/%7Ea"),
        ("https://app.example/cb", "https://app.example:443/cb"),
        ("https://app.example", "https://app.example/"),
        ("https://127.0.0.1/cb", "https://127.0.0.1:8443/cb"),
        ("http://127.0.0.1/cb", "http://localhost/cb"),
        ("http://localhost/cb", "http://[::1]/cb"),
        ("http://localhost/cb", "http://LOCALHOST/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb/x"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb?x"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1/cb#"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb"),
        ("http://127.0.0.1/cb", "http://evil.example:1/cb"),
        ("http://127.0.0.1/cb", "https://127.0.0.1/cb"),
        ("http://127.0.0.1/cb?u=http://127.0.0.1:2", "http://127.0.0.1:9/cb?u=http://127.0.0.1:3"),
        ("com.example.app://cb", "com.example.app://cb:1"),
        ("javascript:a", "javascript:b"),
        ("http://127.0.0.1/cb", "https://app.example/cb"),
    ],
)
def test_matches_not(registered: str, requested: str) -> None:
    """Anything else differs, however equivalent it looks."""
    assert not matches(registered, requested)
    assert not matches(requested, registered)


# --- properties -----------------------------------------------------------------------------------------------------------

_pieces = st.sampled_from(
    [
        *(
            "http",
            "https",
            "HTTP",
            "com.app",
            "javascript",
            ":",
            "//",
            "/",
            "?",
            "#",
            "@",
            "*",
            "[",
            "]",
            "%2e",
            "%",
            ".",
            "..",
        ),
        *(
            "localhost",
            "127.0.0.1",
            "[::1]",
            "app.example",
            "xn--a",
            "0x7f",
            ":80",
            ":0",
            ":65536",
            "\\",
            " ",
            "\n",
            "é",
            "a",
        ),
    ]
)
near_uris = st.lists(_pieces, max_size=12).map("".join)
_label = st.text("abz09-", min_size=1, max_size=63)
_host = st.one_of(
    st.lists(_label, min_size=1, max_size=6).map(".".join),
    st.lists(_label, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "example"])),
    st.sampled_from(["127.0.0.1", "localhost", "[::1]", "app.example", "1.2.3.4", "a.0x1", "a.b.c.d.e.f.g.h.co"]),
)
_port = st.one_of(st.just(""), st.integers(0, 70000).map(lambda port: f":{port}"), st.sampled_from([":", ":00", ":08"]))
_path = st.text(string.ascii_letters + "/._~-09%", max_size=20).map(lambda path: f"/{path}")
LANDING = {
    "redirect_uris": True,
    "post_logout_redirect_uris": True,
    "frontchannel_logout_uri": False,
    "backchannel_logout_uri": False,
}
plain_uris = st.builds(
    lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
    st.sampled_from(["http", "https"]),
    _host,
    _port,
    st.one_of(st.just(""), _path),
)


@given(st.one_of(st.text(), near_uris, plain_uris))
@example("https://" + "a" * 63 + ".com/")
@example("https://a.b/" + "c" * 300)
@example("http://127.0.0.1:59999")
@example("http://[::1]:65535/")
def test_plain_is_a_subset(text: str) -> None:
    """The pattern for plain redirect URIs admits nothing that the rules would refuse, or call a private-use scheme."""
    if redirect_uri.is_plain(text):
        judged = judge(text, "x")
        assert isinstance(judged, RedirectURI)
        assert judged.kind in {Kind.HTTPS, Kind.LOOPBACK}


@given(st.one_of(near_uris, plain_uris))
def test_plain_changes_no_verdict(text: str) -> None:
    """With the pattern switched off, the members with redirect grammar say the same about each text."""
    values = {name: [text, "https://ok.example/"] if many else text for name, many in LANDING.items()}
    with pytest.MonkeyPatch.context() as patched:
        fast = metadata.parse(Presented(dict(values)))
        patched.setattr(redirect_uri, "is_plain", lambda _: False)
        assert fast == metadata.parse(Presented(values))


@pytest.mark.parametrize(
    "uri",
    ["https://a.example/cb", "https://a.example", "http://127.0.0.1:3000/cb", "http://localhost/", "http://[::1]:1"],
)
def test_what_most_clients_send_is_plain(uri: str) -> None:
    """The pattern is of use: it knows the usual redirect URIs."""
    assert redirect_uri.is_plain(uri)


@given(st.one_of(st.text(st.characters(exclude_categories=())), near_uris, plain_uris))
def test_judge_is_total(text: str) -> None:
    """Any text is either a redirect URI, byte for byte, or a refusal in printable ASCII without quotes."""
    judged = judge(text, "redirect_uris[3]")
    if isinstance(judged, RedirectURI):
        assert judged.text == text
        assert judged.text.isascii()
        return
    said = judged.reason + judged.accepted
    assert said.isascii()
    assert said.isprintable()
    assert '"' not in said
    assert "\\" not in said


@given(st.one_of(near_uris, plain_uris), st.one_of(near_uris, plain_uris))
def test_matching_is_symmetric_and_reflexive(one: str, other: str) -> None:
    """Whether two URIs match does not depend on which of them was registered; each matches itself."""
    assert matches(one, one)
    assert matches(one, other) is matches(other, one)


@pytest.mark.requirement("BASE-6")
@given(st.sampled_from(["http://127.0.0.1", "http://[::1]", "http://localhost"]), st.integers(1, 65535), _path)
def test_any_loopback_port_matches(loopback: str, port: int, path: str) -> None:
    """Where a loopback URI is acceptable at all, each port matches the portless one and every other port."""
    registered, requested = f"{loopback}{path}", f"{loopback}:{port}{path}"
    if isinstance(judge(registered, "x"), RedirectURI):
        assert matches(registered, requested)
        assert matches(f"{loopback}:1{path}", requested)


@pytest.mark.parametrize(
    "scheme", ["ms-msdt", "ms-officecmd", "MS-Word", "ms-settings", "web+app", "search", "hcp", "mhtml"]
)
def test_handlers_of_the_system_are_denied(scheme: str) -> None:
    """What opens a part of the operating system, or what any website may register, receives no code."""
    judged = judge(f"{scheme}://x/cb", "m")
    assert isinstance(judged, Finding)
    assert judged.rule == "redirect_uri.scheme"


@pytest.mark.parametrize(
    "scheme", ["ms-app", "ms-appx-web", "cursor", "vscode", "msal1234", "webex", "com.example.app"]
)
def test_schemes_of_apps_are_not(scheme: str) -> None:
    """Schemes in which apps really receive their redirects go through, also where the name begins alike."""
    assert isinstance(judge(f"{scheme}://x/cb", "m"), RedirectURI)
