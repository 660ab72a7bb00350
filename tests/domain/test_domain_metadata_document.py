"""Client ID Metadata Documents: which URL may be an identifier, and what a document must and must not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrar.domain import metadata_document
from registrar.domain.findings import Verdict
from registrar.domain.metadata import Presented
from registrar.domain.server_metadata import OFFERED, SYMMETRIC, Offered

URL = "https://app.example/oauth/client.json"
PAYLOADS = [
    json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parents[1] / "data" / "payloads" / "cimd").glob("*.json"))
]


@pytest.mark.requirement("DISC-22")
@pytest.mark.parametrize("one", PAYLOADS, ids=lambda one: one["client"])
def test_what_real_clients_publish(one: dict[str, Any]) -> None:
    """Each URL may be an identifier, and each document is its own."""
    assert metadata_document.judge_url(one["client_id"]) is None
    assert metadata_document.judge(one["client_id"], Presented(one["document"])) == []


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://app.example:8443/c",
        "https://app.example/c?version=1",
        "https://app.example/a.b/.well-known/c",
        "https://app.example/...",
        "https://xn--bcher-kva.example/c",
        "https://[2001:db8::1]/c",
    ],
)
def test_urls_that_may_be_identifiers(url: str) -> None:
    """A port and a query are allowed; segments that only begin with a dot are none of those that are meant."""
    assert metadata_document.judge_url(url) is None


@pytest.mark.requirement("DISC-22")
@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://app.example/c", "document.url_scheme"),
        ("httpS://app.example/c", "document.url_scheme"),
        ("https://", "document.url_scheme"),
        ("https:///c", "document.url_scheme"),
        ("app://c/d", "document.url_scheme"),
        ("https://app.example", "document.url_path"),
        ("https://app.example/", "document.url_path"),
        ("https://app.example/#", "document.url_fragment"),
        ("https://app.example/c#d", "document.url_fragment"),
        ("https://u@app.example/c", "document.url_userinfo"),
        ("https://:@app.example/c", "document.url_userinfo"),
        ("https://app.example/./c", "document.url_dot_segments"),
        ("https://app.example/c/..", "document.url_dot_segments"),
        ("https://app.example/%2E%2e/c", "document.url_dot_segments"),
        ("https://app.example/.%2e/c", "document.url_dot_segments"),
        ("https://2130706433/c", "document.url_host"),
        ("https://app.example:0/c", "document.url_host"),
        ("https://app.example:/c", "document.url_host"),
        ("https://app..example/c", "document.url_host"),
        ("https://аpp.example/c", "document.url_characters"),
        ("https://app.example/c\\d", "document.url_characters"),
        ("https://app.example/%", "document.url_characters"),
        (f"https://app.example/{'c' * metadata_document.LENGTH}", "document.url_length"),
    ],
)
def test_urls_that_may_not(url: str, rule: str) -> None:
    """Each by the rule that says why."""
    finding = metadata_document.judge_url(url)

    assert finding is not None
    assert (finding.rule, finding.member, finding.verdict) == (rule, "client_id", Verdict.REFUSED)
    assert finding.accepted


@given(st.text(max_size=60))
def test_whatever_is_sent_is_judged(text: str) -> None:
    """No text makes it stumble, and nothing is an identifier that is no https URL with a path."""
    if metadata_document.judge_url(text) is None:
        assert text.startswith("https://")
        assert "/" in text.removeprefix("https://").rstrip("/") or "?" in text


@given(st.dictionaries(st.text(max_size=10) | st.sampled_from(["client_id", "client_secret"]), st.none() | st.text()))
def test_whatever_a_document_says_is_judged(members: dict[str, Any]) -> None:
    """What is said twice or wrongly is told, and a document is nobody's whose URL it does not name."""
    assert metadata_document.judge(URL, Presented(members)) or members.get("client_id") == URL


@pytest.mark.requirement("DISC-22")
def test_all_faults_are_told_at_once() -> None:
    """Another's identifier, a secret with its end, and a method that would need one."""
    found = metadata_document.judge(
        URL,
        Presented(
            {
                "client_id": f"{URL}/",
                "client_secret": "s3cr3t",
                "client_secret_expires_at": 0,
                "token_endpoint_auth_method": "client_secret_post",
            }
        ),
    )

    assert [(one.rule, one.member) for one in found] == [
        ("document.client_id", "client_id"),
        ("document.secret", "client_secret"),
        ("document.secret", "client_secret_expires_at"),
        ("document.symmetric_method", "token_endpoint_auth_method"),
    ]
    assert "s3cr3t" not in str(found)


@pytest.mark.parametrize(
    ("members", "offered", "chosen"),
    [
        ({}, None, "none"),
        ({"jwks_uri": "https://app.example/jwks"}, None, "private_key_jwt"),
        ({"jwks": {"keys": []}}, None, "private_key_jwt"),
        ({"token_endpoint_auth_method": ""}, None, "none"),
        ({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]}, None, "private_key_jwt"),
        ({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]}, ("none",), "none"),
        ({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, None, None),
        ({"token_endpoint_auth_methods_supported": "none"}, None, "none"),
        (
            {"token_endpoint_auth_method": "tls_client_auth", "token_endpoint_auth_methods_supported": ["none"]},
            None,
            "none",
        ),
        (
            {
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            },
            ("none",),
            "none",
        ),
        ({"token_endpoint_auth_method": "tls_client_auth"}, None, "tls_client_auth"),
        ({"token_endpoint_auth_method": "none"}, None, "none"),
        ({"token_endpoint_auth_method": 7}, None, 7),
        ({"token_endpoint_auth_methods_supported": [{}, 7, None]}, None, None),
    ],
)
def test_the_method_is_agreed_upon(members: dict[str, Any], offered: tuple[str, ...] | None, chosen: Any) -> None:
    """What a registration means by saying nothing is a secret; here keys decide, and what the client says that it can."""
    given_ = Presented({"client_id": URL, **members})
    asked, found = metadata_document.asked(given_) if offered is None else metadata_document.asked(given_, offered)

    assert asked.get("token_endpoint_auth_method") == chosen
    assert "client_id" not in asked
    assert bool(found) == (chosen is not None and members.get("token_endpoint_auth_method") != chosen)


def test_nothing_is_offered_that_needs_a_secret_or_asks_nobody() -> None:
    """No MAC, no method with a secret, and no tokens without a person."""
    offered = metadata_document.offered(Offered(OFFERED))

    assert offered["token_endpoint_auth_methods_supported"] == ("none", "private_key_jwt")
    assert "client_credentials" not in offered["grant_types_supported"]
    assert not [name for name, values in offered.items() if SYMMETRIC.intersection(values)]


def test_letters_of_other_alphabets() -> None:
    """A host is shown as it is written, and people are told that it stands for something else."""
    assert metadata_document.foreign_letters("xn--pple-43d.example")
    assert metadata_document.foreign_letters("a.xn--p1ai")
    assert not metadata_document.foreign_letters("app.example")
    assert not metadata_document.foreign_letters("axn--b.example")
