"""The pages under requests that nobody thought of."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from browsing import CHALLENGE, Reading, asking, register
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registrar.testing import Served

pytestmark = pytest.mark.anyio

NAMES = (
    "client_id",
    "response_type",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "prompt",
    "max_age",
    "response_mode",
    "code_challenge",
    "code_challenge_method",
    "ui_locales",
    "login_hint",
    "id_token_hint",
    "claims",
    "request",
    "request_uri",
    "resource",
    "authorization_details",
    "acr_values",
    "dpop_jkt",
    "i",
    "other",
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        (
            "none",
            "login consent",
            "code",
            "token",
            "query.jwt",
            "form_post",
            "S256",
            CHALLENGE,
            "0",
            "-1",
            "{}",
            "[]",
            "null",
        )
    ),
    st.sampled_from(
        ("https://evil.example/", "javascript:alert(1)", "https://app.example/cb#x", "\x00", "\u202e", "e30.e30.")
    ),
)


async def holds(answer: httpx2.Response) -> None:
    """An answer is a page, or leads to a page of this server or to the registered address."""
    assert answer.status_code < 500, answer.text
    if answer.status_code == 303:
        location = answer.headers["location"]
        assert location.startswith(("https://app.example/cb?", "https://app.example/cb#", "/sign-in?i=", "/authorize"))
    else:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Reading(answer.text)
        leads = [*(link["href"] for link in page.links), *(form.action for form in page.forms), *page.resources]
        assert [one for one in leads if not one.startswith(("/", "https://app.example/cb"))] == []


@pytest.mark.requirement("BASE-13")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parameters=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8), known=st.booleans())
async def test_any_authorization_request(server: Served, parameters: dict[str, str], known: bool) -> None:
    """No error of ours, no address that is not registered, whatever is asked of a known client or of none."""
    client = await register(server)
    named = {"client_id": client["client_id"]} if known else {}
    query = urlencode({**named, **parameters}, errors="surrogatepass")
    await holds(await server.client.get(f"/authorize?{query}"))
    more = {name: value for name, value in parameters.items() if name not in query_of(asking(client))}
    await holds(await server.client.get(f"{asking(client)}&{urlencode(more, errors='surrogatepass')}"))


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL."""
    return dict(parse_qsl(urlsplit(url).query))
