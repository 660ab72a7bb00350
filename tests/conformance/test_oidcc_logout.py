"""The logout plans: RP-initiated, back-channel and front-channel, through the pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from suite import ISSUER, RP, Client, Suite, suite

from browser import Callback, Page
from registrar.domain import jws

pytestmark = pytest.mark.anyio

AFTER = f"{RP}/post_logout"
HEARS, FRAME = f"{RP}/backchannel_logout", f"{RP}/frontchannel_logout"


async def signed_in(op: Suite, **members: Any) -> tuple[Client, dict[str, Any], dict[str, Any]]:
    """A client that may send people away to sign out, and a person who signed in there."""
    client = await op.register(post_logout_redirect_uris=[AFTER], **members)
    return client, *(await op.flow(client))


async def sign_out(op: Suite, **parameters: str) -> Page | Callback:
    """Go to the end-session endpoint."""
    return await op.browser.open(f"{op.discovery['end_session_endpoint']}?{urlencode(parameters)}")


async def confirmed(op: Suite, shown: Page | Callback) -> Page | Callback:
    """Say yes where the page asks."""
    if isinstance(shown, Page):
        buttons = [button for form in shown.forms for button in form.buttons if "out" in button]
        if buttons:
            return await op.browser.press(shown, buttons[0])
    return shown


async def is_signed_in(op: Suite, client: Client) -> bool:
    """Whether the browser is still signed in."""
    answer = await op.go(op.request(client, prompt="none"))
    return isinstance(answer, Callback) and "code" in answer


async def test_oidcc_rp_initiated_logout() -> None:
    """With id_token_hint, address and state: back to the client with the state, and nobody is signed in any more."""
    async with suite() as op:
        client, tokens, _ = await signed_in(op)
        assert await is_signed_in(op, client)
        shown = await sign_out(op, id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER, state="xyz")
        shown = await confirmed(op, shown)
        assert isinstance(shown, Callback), shown.html
        assert shown.url == AFTER
        assert dict(shown) == {"state": "xyz"}
        assert not await is_signed_in(op, client)


@pytest.mark.parametrize(
    "name", ["no-state", "no-post-logout-redirect-uri", "no-id-token-hint", "no-params", "only-state"]
)
async def test_oidcc_rp_initiated_logout_without(name: str) -> None:
    """oidcc-rp-initiated-logout-no-*: the person signs out all the same, asked first where nothing shows who asks."""
    async with suite() as op:
        client, tokens, _ = await signed_in(op)
        parameters = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": AFTER, "state": "xyz"}
        without = {
            "no-state": ["state"],
            "no-post-logout-redirect-uri": ["post_logout_redirect_uri", "state"],
            "no-id-token-hint": ["id_token_hint", "post_logout_redirect_uri"],
            "no-params": [*parameters],
            "only-state": ["id_token_hint", "post_logout_redirect_uri"],
        }[name]
        shown = await sign_out(op, **{key: value for key, value in parameters.items() if key not in without})
        if "id_token_hint" in without:
            assert isinstance(shown, Page), "nothing shows who asks, so the person is asked"
            assert await is_signed_in(op, client)
        shown = await confirmed(op, shown)
        assert isinstance(shown, Callback) is (name == "no-state")
        assert not await is_signed_in(op, client)


@pytest.mark.parametrize(
    "changed",
    [
        {"post_logout_redirect_uri": f"{AFTER}2"},
        {"post_logout_redirect_uri": f"{AFTER}?foo=bar"},
        {"id_token_hint": ""},
        {"id_token_hint": "x.y.z"},
    ],
    ids=str,
)
async def test_oidcc_rp_initiated_logout_bad(changed: dict[str, str]) -> None:
    """oidcc-rp-initiated-logout-bad-*, -modified-id-token-hint, -query-added: an error page, never the client."""
    async with suite() as op:
        client, tokens, _ = await signed_in(op)
        parameters = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": AFTER, "state": "xyz", **changed}
        shown = await sign_out(op, **{key: value for key, value in parameters.items() if value})
        assert isinstance(shown, Page)
        assert shown.status >= 400
        assert await is_signed_in(op, client)


async def test_oidcc_backchannel_rp_initiated_logout() -> None:
    """The client that registered for it gets a logout token of the session it knows, signed by a published key."""
    async with suite() as op:
        op.documents.documents[HEARS] = b""
        client, tokens, claims = await signed_in(
            op, backchannel_logout_uri=HEARS, backchannel_logout_session_required=True
        )
        assert op.discovery["backchannel_logout_supported"] is True
        assert op.discovery["backchannel_logout_session_supported"] is True
        await confirmed(op, await sign_out(op, id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER))
        await op.server.registry.errands.done()
        ((url, form),) = op.documents.posted
        assert url == HEARS
        told = jws.verify(jws.read(form["logout_token"]), await op.published(), ("RS256",))
        assert told.claims["aud"] == client.client_id
        assert (told.claims["sub"], told.claims["sid"]) == (claims["sub"], claims["sid"])
        assert told.claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
        assert "nonce" not in told.claims


async def test_oidcc_frontchannel_rp_initiated_logout() -> None:
    """The page loads the client's address in a frame, with iss and sid, before it leads back."""
    async with suite() as op:
        _, tokens, claims = await signed_in(
            op, frontchannel_logout_uri=FRAME, frontchannel_logout_session_required=True
        )
        assert op.discovery["frontchannel_logout_supported"] is True
        shown = await confirmed(
            op, await sign_out(op, id_token_hint=tokens["id_token"], post_logout_redirect_uri=AFTER, state="xyz")
        )
        assert isinstance(shown, Page)
        (frame,) = shown.frames
        assert frame.startswith(FRAME)
        assert dict(parse_qsl(urlsplit(frame).query)) == {"iss": ISSUER, "sid": claims["sid"]}
        assert f"{AFTER}?state=xyz" in [*shown.links.values(), *_refresh(shown)]


def _refresh(page: Page) -> list[str]:
    """Where the page goes by itself."""
    return [part.split('"')[0] for part in page.html.replace("&amp;", "&").split("url=")[1:]]
