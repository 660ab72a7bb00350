"""What trusted proxies say: the caller's address, TLS that ended at them, and the client's certificate (RFC 9440)."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registering import MEMBERS, bearer, events, refused

from registrar.config import ConfigurationError, parse
from registrar.domain import certificate
from registrar.domain.certificate import CHAIN
from registrar.domain.errors import ProtocolError
from registrar.domain.settings import Server
from registrar.http import certificates, create_app
from registrar.http.proxies import Proxies
from registrar.policy.document import Document
from registrar.service.ports import EventQuery
from registrar.testing import Served, served
from registrar.testing.authority import Authority, Issued

CONFIGURATION: Final = """
[server]
database = "memory:"
{server}
[issuer.main]
url = "https://as.example"
[issuer.main.registration]
mode = "open"
"""
PROXY: Final = "10.1.2.3"
TRUSTED: Final = 'trusted_proxies = ["10.1.2.0/24", "2001:db8::1"]'
NGINX: Final = f'{TRUSTED}\nclient_certificate_header = "x-ssl-client-cert"'
HTTPS: Final = ("x-forwarded-proto", "https")
Fields = tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def issued() -> Issued:
    """A client's certificate, issued by an intermediate authority."""
    return Authority().intermediate().issue("CN=client,O=Example")


@asynccontextmanager
async def behind(server: str = TRUSTED, peer: str = PROXY) -> AsyncIterator[tuple[Served, httpx2.AsyncClient]]:
    """A served issuer, and a client whose connections come from `peer` over plain http."""
    configuration = CONFIGURATION.format(server=server)
    async with served(configuration) as inside:
        app = create_app(inside.registry, parse(Document("test", configuration)).settings.server)
        transport = httpx2.ASGITransport(app=app, client=(peer, 4711), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://as.example") as client:
            yield inside, client


async def register(client: httpx2.AsyncClient, *fields: tuple[str, str]) -> httpx2.Response:
    """Register through a proxy that says these header fields, TLS first."""
    return await client.post("/register", json=MEMBERS, headers=[HTTPS, *fields])


async def told(inside: Served, kind: str = "client.registered") -> tuple[dict[str, Any], str]:
    """The one event of a kind, and the caller's address that it discloses."""
    (stored,) = await inside.registry.store.events(EventQuery(kind=kind), limit=10)
    return json.loads(stored.event.body), json.loads(stored.event.personal)["address"][1]


def sequence(der: bytes) -> str:
    """A byte sequence of a structured field."""
    return f":{base64.b64encode(der).decode()}:"


# --- address and scheme -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ((), PROXY),
        (("192.0.2.7",), "192.0.2.7"),
        (("203.0.113.1, 192.0.2.7",), "192.0.2.7"),
        (("203.0.113.1, 192.0.2.7, 10.1.2.9",), "192.0.2.7"),
        (("203.0.113.1", "192.0.2.7"), "192.0.2.7"),
        (("192.0.2.7:5123",), "192.0.2.7"),
        (("[2001:db8::7]:443, 2001:db8::1",), "2001:db8::7"),
        (("::ffff:192.0.2.7",), "192.0.2.7"),
        (("10.1.2.8, 10.1.2.9",), "10.1.2.8"),
        (("192.0.2.7, unknown",), PROXY),
        (("192.0.2.7, unknown, 10.1.2.9",), "10.1.2.9"),
        (("",), PROXY),
    ],
)
async def test_the_caller_is_the_last_address_that_is_no_proxys(forwarded: tuple[str, ...], address: str) -> None:
    """What proxies added is believed from the right up to the first address that is not theirs, and no further."""
    async with behind() as (inside, client):
        answer = await register(client, *(("x-forwarded-for", value) for value in forwarded))
        assert answer.status_code == 201
        _, caller = await told(inside)
    assert caller == address


@pytest.mark.anyio
@pytest.mark.parametrize("peer", ["10.1.3.3", "2001:db8::2", "192.0.2.1", "", "not an address"])
async def test_of_others_nothing_is_believed(peer: str, issued: Issued) -> None:
    """A direct caller that says what only a proxy may say is plain http, with its own address and no certificate."""
    said = (("x-forwarded-for", "198.51.100.1"), ("client-cert", issued.client_cert))
    async with behind(peer=peer) as (inside, client):
        assert "TLS" in refused(await register(client, *said), "invalid_request")["error_description"]
        own = await inside.client.post("https://as.example/register", json=MEMBERS, headers=[HTTPS, *said])
        assert own.status_code == 201
        event, caller = await told(inside)
    assert caller == "127.0.0.1"
    assert "certificate_thumbprint" not in event


@pytest.mark.anyio
@pytest.mark.parametrize("peer", [PROXY, "::ffff:10.1.2.3", "2001:db8::1", "2001:0db8:0:0::1"])
async def test_a_proxy_is_known_in_every_spelling(peer: str) -> None:
    """By address or network, IPv4 also as a listener for both families gives it."""
    async with behind(peer=peer) as (_, client):
        assert (await register(client)).status_code == 201


@pytest.mark.anyio
@pytest.mark.parametrize("said", [(), ("http",), ("https, http",), ("https", "http"), ("https", "https"), ("HTTPS",)])
async def test_tls_is_said_once_and_plainly(said: tuple[str, ...]) -> None:
    """Anything but one `https` is no TLS: of several values the first may be the caller's own."""
    async with behind() as (_, client):
        headers = [("x-forwarded-proto", value) for value in said]
        answer = await client.post("/register", json=MEMBERS, headers=headers)
        assert "TLS" in refused(answer, "invalid_request")["error_description"]


@pytest.mark.anyio
async def test_without_proxies_the_headers_mean_nothing(issued: Issued) -> None:
    """Where none is configured, nobody is believed, on loopback neither."""
    async with behind("", "127.0.0.1") as (_, client):
        refused(await register(client, ("client-cert", issued.client_cert)), "invalid_request")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('trusted_proxies = ["*"]', "neither an address nor a network"),
        ('trusted_proxies = ["localhost"]', "neither an address nor a network"),
        ('trusted_proxies = ["10.1.2.3/24"]', "neither an address nor a network"),
        ('trusted_proxies = ["10.1.2"]', "neither an address nor a network"),
        ('trusted_proxies = ["0.0.0.0/0"]', "everybody"),
        ('trusted_proxies = ["127.0.0.1", "::/0"]', "everybody"),
        ('client_certificate_header = "X-Cert"', "lower case"),
        ('client_certificate_header = "a b"', "name of a header"),
        ('client_certificate_header = ""', "name of a header"),
    ],
)
def test_who_is_believed_is_configured_strictly(line: str, reason: str) -> None:
    """A name, a mistyped network and everybody are refused before anything starts, with the line."""
    with pytest.raises(ConfigurationError, match=reason) as refusal:
        parse(Document("registrar.toml", CONFIGURATION.format(server=line)))
    assert refusal.value.line == 4


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=3))
def test_nothing_that_is_forwarded_breaks_the_reading(peer: str, forwarded: list[str]) -> None:
    """Whatever stands in the header, the caller is an address, and a peer that is no proxy stays as it is."""
    proxies = Proxies(Server(trusted_proxies=(PROXY,)))
    headers = [(b"x-forwarded-for", value.encode("utf-8", "replace")) for value in forwarded]
    scope: dict[str, Any] = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
    assert proxies.resolved(scope) is scope
    assert proxies.resolved({**scope, "client": (PROXY, 1)})["client"][0].replace(".", "").replace(":", "").isalnum()


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_certificate_of_a_registration_is_in_its_event(issued: Issued) -> None:
    """A proxy hands it on (RFC 9440); registration, update and refusal tell its thumbprint, and nothing of its names."""
    thumbprint = certificate.read(issued.der).thumbprint
    said = (HTTPS, ("client-cert", issued.client_cert))
    async with behind() as (inside, client):
        answer = await register(client, *said[1:])
        assert answer.status_code == 201
        made = answer.json()
        update = {"client_id": made["client_id"], **MEMBERS, "client_name": "Other"}
        token = bearer(made["registration_access_token"])
        path = made["registration_client_uri"].removeprefix("https://as.example")
        assert (await client.put(path, json=update, headers=[*said, *token.items()])).status_code == 200
        assert (await client.post("/register", json={"redirect_uris": [1]}, headers=said)).status_code == 400
        for kind in ("client.registered", "client.updated", "registration.refused"):
            (event,) = await events(inside, kind)
            assert event["certificate_thumbprint"] == thumbprint
            assert "Example" not in json.dumps(event)


@pytest.mark.anyio
@pytest.mark.parametrize("pem", [quote, lambda text: quote(text, safe="") + quote("\n")], ids=["nginx", "trailing"])
async def test_a_header_of_another_name_holds_pem(issued: Issued, pem: Any) -> None:
    """As nginx writes it, percent-encoded; the header of RFC 9440 then means nothing, and an empty one no certificate."""
    other = ("client-cert", "nonsense")
    async with behind(NGINX) as (inside, client):
        said = ("x-ssl-client-cert", pem(issued.pem.decode("ascii")))
        assert (await register(client, said, other)).status_code == 201
        event, _ = await told(inside)
        assert event["certificate_thumbprint"] == certificate.read(issued.der).thumbprint
    async with behind(NGINX) as (inside, client):
        assert (await register(client, ("x-ssl-client-cert", ""), other)).status_code == 201
        event, _ = await told(inside)
        assert "certificate_thumbprint" not in event


def malformed(der: bytes) -> dict[str, Fields]:
    """Header fields of RFC 9440 that hold no certificate, or not one."""
    good, text = sequence(der), base64.b64encode(der).decode()
    return {
        "repeated": (("client-cert", good), ("client-cert", good)),
        "list": (("client-cert", f"{good}, {good}"),),
        "empty": (("client-cert", ""),),
        "nothing": (("client-cert", "::"),),
        "bare": (("client-cert", text),),
        "open": (("client-cert", f":{text}"),),
        "parameter": (("client-cert", f"{good};a=1"),),
        "string": (("client-cert", f'"{text}"'),),
        "base64url": (("client-cert", ":-_-_:"),),
        "unpadded": (("client-cert", ":YQ:"),),
        "spaces": (("client-cert", f":{text[:8]} {text[8:]}:"),),
        "no certificate": (("client-cert", ":YWJj:"),),
        "more": (("client-cert", sequence(der + b"\0")),),
        "cut": (("client-cert", sequence(der[:-1])),),
        "pem": (("client-cert", quote("-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n")),),
        "chain alone": (("client-cert-chain", good),),
        "chain repeated": (("client-cert", good), ("client-cert-chain", good), ("client-cert-chain", good)),
        "chain empty": (("client-cert", good), ("client-cert-chain", "")),
        "chain comma": (("client-cert", good), ("client-cert-chain", f"{good},")),
        "chain bare": (("client-cert", good), ("client-cert-chain", text)),
        "chain long": (("client-cert", good), ("client-cert-chain", ", ".join([":YQ==:"] * (CHAIN + 1)))),
    }


@pytest.mark.anyio
@pytest.mark.parametrize("how", malformed(b""))
async def test_a_malformed_certificate_is_refused(issued: Issued, how: str) -> None:
    """A header that is repeated or holds no certificate is 400 and registers nothing; the refusal is recorded."""
    async with behind() as (inside, client):
        answer = await register(client, *malformed(issued.der)[how])
        assert "certificate" in refused(answer, "invalid_request")["error_description"] or "client-cert" in answer.text
        assert await events(inside, "client.registered") == []
        (event,) = await events(inside, "registration.refused")
        assert event["error"] == "invalid_request"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "value",
    [
        "nonsense",
        "-----BEGIN CERTIFICATE-----%0AYWJj%0A-----END CERTIFICATE-----%0A",
        "-----BEGIN%20CERTIFICATE-----%0AY%0A-----END%20CERTIFICATE-----",
        "-----BEGIN%20CERTIFICATE-----%0AYWJj%0A-----END%20CERTIFICATE-----",
        "-----BEGIN%20PRIVATE%20KEY-----%0AYWJj%0A-----END%20PRIVATE%20KEY-----",
    ],
)
async def test_malformed_pem_is_refused(value: str) -> None:
    """What is not one certificate in PEM, percent-encoded, is 400."""
    async with behind(NGINX) as (_, client):
        refused(await register(client, ("x-ssl-client-cert", value)), "invalid_request")


@pytest.mark.parametrize("separator", [",", ", ", " ,\t"])
def test_the_chain_above_a_certificate_can_be_had(issued: Issued, separator: str) -> None:
    """`Client-Cert-Chain` is a list of byte sequences (RFC 9440 §2.3), read from a proxy alone."""
    chain = separator.join(map(sequence, issued.chain[1:] * 2)).encode()
    scope: dict[str, Any] = {
        "type": "http",
        "client": (PROXY, 1),
        "headers": [(b"client-cert", issued.client_cert.encode()), (b"client-cert-chain", chain)],
    }
    believed = Proxies(Server(trusted_proxies=(PROXY,))).resolved(scope)
    assert certificates.chain(believed) == issued.chain[1:] * 2
    assert certificates.chain(scope) == ()
    assert certificates.presented(scope) is None
    assert certificates.chain({**believed, "headers": scope["headers"][:1]}) == ()


def test_the_certificate_of_a_proxys_connection_is_not_the_clients(issued: Issued) -> None:
    """A proxy may itself be known by a certificate; a client that presented none still has none."""
    scope: dict[str, Any] = {"client": (PROXY, 1), "headers": [], certificates.OF_CONNECTION: issued.der}
    own = certificates.presented(scope)
    assert own is not None
    assert own.der == issued.der
    assert certificates.presented(Proxies(Server(trusted_proxies=(PROXY,))).resolved(scope)) is None


@given(st.binary(max_size=64))
def test_no_header_value_breaks_the_reading(value: bytes) -> None:
    """Whatever a proxy hands on that is no certificate is refused, and nothing else happens."""
    for header in (certificates.STANDARD, b"x-ssl-client-cert"):
        scope = {certificates.HEADER: header, "headers": [(header, value), (b"client-cert-chain", value)]}
        if header == certificates.STANDARD or value:
            with pytest.raises(ProtocolError):
                certificates.presented(scope)
        else:
            assert certificates.presented(scope) is None
