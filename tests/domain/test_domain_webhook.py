"""Webhooks as values: keys, signatures, identifiers, and what is told of a client."""

from __future__ import annotations

import base64
import json
import re

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registrar.domain import webhook
from registrar.domain.events import Actor, event
from registrar.domain.webhook import DELAYS, SigningKeys
from registrar.testing.store_conformance import a_client

KEY = base64.b64encode(bytes(range(32))).decode()


def test_signature_of_the_specification() -> None:
    """The published test vector of Standard Webhooks' libraries."""
    keys = SigningKeys.read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = keys.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_key_signs() -> None:
    """A receiver may verify by the old key or the new one, or by a public key."""
    private = Ed25519PrivateKey.generate()
    older, seed = (base64.b64encode(one).decode() for one in (bytes(24), private.private_bytes_raw()))
    text = f"# newest first\nwhsec_{KEY}\n\nwhsec_{older}\nwhsk_{seed}\n"
    signatures = SigningKeys.read(text).headers("evt_1", 7, b"{}")["webhook-signature"].split(" ")

    assert [one.partition(",")[0] for one in signatures] == ["v1", "v1", "v1a"]
    private.public_key().verify(base64.b64decode(signatures[2].partition(",")[2]), b"evt_1.7.{}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        f"{KEY}\n",
        "whsec_\n",
        "whsec_not base64\n",
        f"whsec_{base64.b64encode(bytes(23)).decode()}\n",
        f"whsec_{base64.b64encode(bytes(65)).decode()}\n",
        f"whsk_{base64.b64encode(bytes(31)).decode()}\n",
        f"whpk_{KEY}\n",
    ],
)
def test_what_is_no_key(text: str) -> None:
    """It is refused by its line, and not repeated."""
    with pytest.raises(ValueError, match=r"needs a line|line 1") as refusal:
        SigningKeys.read(text)
    assert KEY not in str(refusal.value)
    assert KEY not in repr(SigningKeys.read(f"whsec_{KEY}"))


def test_the_identifier_is_the_event_s() -> None:
    """The same for the same event, another for another, and the time can be read from it."""
    actor = Actor("operator", "local")
    one, same = (event("client.suspended", issuer="main", time_ms=5, actor=actor, salt=b"") for _ in range(2))
    other = event("client.suspended", issuer="main", time_ms=5, actor=actor, salt=b"", client_id="x")

    assert webhook.identifier(one) == webhook.identifier(same) != webhook.identifier(other)
    assert webhook.told_at(webhook.identifier(one)) == 5
    good = webhook.identifier(one)
    for wrong in (
        "",
        "evt_",
        good[1:],
        good + "0",
        f"evt_{'z' * 43}",
        f"evt_-{good[5:]}",
        f"evt_0_{good[6:]}",
        good + "\n",
    ):
        with pytest.raises(ValueError, match=rf"\A{re.escape(wrong)}\Z"):
            webhook.told_at(wrong)


def test_a_client_is_told_without_credentials_and_persons() -> None:
    """Its metadata and state are what a gateway follows; secrets, digests, owners and addresses of people stay here."""
    client = a_client("c1")
    client = msgspec.structs.replace(
        client,
        metadata={**client.metadata, "contacts": ["carol@example.com"], "client_uri": "https://a.example"},
        admission=msgspec.structs.replace(client.admission, owner="carol@example.com", label="carol's"),
    )
    told = event("client.updated", issuer="main", time_ms=5, actor=Actor("client", "none"), salt=b"", client_id="c1")
    body = json.loads(webhook.payload(told, client))

    assert body["type"] == "client.updated"
    assert body["timestamp"] == "1970-01-01T00:00:00.005Z"
    assert {name: value for name, value in body["data"].items() if name != "client"} == json.loads(told.body)
    assert body["data"]["client"]["metadata"]["client_uri"] == "https://a.example"
    assert body["data"]["client"]["version"] == client.version
    text = json.dumps(body)
    assert "carol" not in text
    for record in client.credentials.secrets:
        assert base64.b64encode(record.digest).decode() not in text


def test_patterns() -> None:
    """They name kinds of events, and one that names none is an error."""
    assert webhook.kinds(("client.suspended",)) == {"client.suspended"}
    assert {"client.registered", "client.deleted"} < webhook.kinds(("client.*",))
    with pytest.raises(ValueError, match="clients"):
        webhook.kinds(("client.*", "clients.*"))


def test_delays_grow_over_three_days() -> None:
    """And what failed together does not all come back together, nor earlier than it should."""
    assert list(DELAYS) == sorted(DELAYS)
    assert 72 * 3600 < sum(DELAYS) < 96 * 3600
    assert webhook.jittered(300, b"\0\0") == 300_000
    assert 300_000 < webhook.jittered(300, b"\x80\0") < webhook.jittered(300, b"\xff\xff") == 330_000
