"""The authorization endpoint as a person meets it: sign-in, consent, and the way back to the application."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from urllib.parse import urlsplit

import httpx2
import pytest
from browsing import ALLOW, CONFIGURATION, ISSUER, REFUSE, Browser, add, asking, exchange, issuing, register

from registrar.authorization import grant, people
from registrar.domain.client import State
from registrar.domain.lifecycle import DAY
from registrar.domain.metadata import Presented
from registrar.service import administration, client_administration, initial_access, last_use, sweep, templates
from registrar.service.ports import EventQuery, Fetched
from registrar.testing import Documents, Served, served

pytestmark = pytest.mark.anyio


async def at_consent(server: Served, browser: Browser, **members: object) -> dict[str, object]:
    """Sign in, and stand before the question of a new client."""
    client = await register(server, **members)
    await browser.open(asking(client))
    await browser.sign_in()
    return client


def server_metadata(client: dict[str, object]) -> dict[str, object]:
    """What a client registered, without what the server issued."""
    issued = ("client_id", "client_secret", "client_id_issued_at", "client_secret_expires_at")
    credentials = ("registration_client_uri", "registration_access_token")
    return {name: value for name, value in client.items() if name not in (*issued, *credentials)}


async def told(server: Served, kind: str) -> list[dict[str, object]]:
    """The audit's events of a kind."""
    stored = await server.registry.store.events(EventQuery(kind=kind))
    return [json.loads(one.event.body) for one in stored]


async def test_a_person_signs_in_allows_and_goes_back(server: Served, browser: Browser) -> None:
    """The whole way: the client gets a code with its state, and the audit tells who was let in."""
    client = await register(server)
    await browser.open(asking(client))
    assert "Sign in" in browser.words
    await browser.sign_in()
    assert "Allow access to your account?" in browser.words
    await browser.submit(ALLOW)
    assert browser.left_for.startswith("https://app.example/cb?")
    assert browser.answer["state"] == "s"
    assert browser.answer["code"]
    (event,) = await told(server, "consent.given")
    assert event["client_id"] == client["client_id"]
    assert event["scope"] == ["openid", "email"]


@pytest.mark.requirement("R7591-64")
async def test_a_person_is_warned_of_a_borrowed_name(server: Served, browser: Browser) -> None:
    """What was found odd at the registration is said before the person decides."""
    await at_consent(server, browser, client_name="Claude")
    assert "uses a well-known name, and the answer does not go to whoever has that name" in browser.words


async def test_a_person_says_no(server: Served, browser: Browser) -> None:
    """The client is told, and nothing is remembered."""
    client = await at_consent(server, browser)
    await browser.submit(REFUSE)
    assert browser.answer["error"] == "access_denied"
    assert browser.answer["state"] == "s"
    await browser.open(asking(client))
    assert "Allow access" in browser.words


@pytest.mark.requirement("BASE-28", "OIDC-10", "R7591-12", "R7591-64", "SEED-64", "R7591-66", "WILD-15")
async def test_consent_says_who_asks(server: Served, browser: Browser) -> None:
    """Name, host, who registered it and when, what is only claimed, its pages as safe links, its logo from here."""
    client = await at_consent(
        server,
        browser,
        client_uri="https://app.example/",
        policy_uri="https://app.example/privacy",
        tos_uri="https://legal.example/terms",
        logo_uri="https://app.example/logo.png",
    )
    for said in (
        "Reader",
        "The answer goes to app.example",
        "Nobody has checked this application. It registered itself on 21 September 2026",
        "its name and logo are its own claim",
        "Registered by itself; nobody was asked",
        "Only claimed by the application its name",
        "Read your e-mail address",
        str(client["client_id"]),
    ):
        assert said in browser.words
    links = {link["href"]: link for link in browser.read.links}
    for url in ("https://app.example/", "https://app.example/privacy", "https://legal.example/terms"):
        assert links[url]["rel"] == "noopener noreferrer nofollow"
    assert f"/logo/{client['client_id']}" in browser.read.resources


@pytest.mark.requirement("R7591-28")
async def test_what_a_client_says_is_text(server: Served, browser: Browser) -> None:
    """Markup in a name is shown as it is written, wherever it stands."""
    name = "<script>alert(1)</script>\"'><b>&amp;"
    await at_consent(server, browser, client_name=name)
    assert name in "".join(browser.read.words)
    assert "<script>alert" not in browser.page.text
    assert "<b>" not in browser.page.text


async def test_a_name_in_the_persons_language(server: Served, browser: Browser) -> None:
    """ui_locales comes first, then the browser's own setting; the language is marked in the page."""
    client = await register(server, **{"client_name#ja": "リーダー", "client_name#de": "Leser"})
    browser.headers["accept-language"] = "de-CH, en;q=0.5"
    await browser.open(asking(client))
    assert '<bdi lang="de">Leser</bdi>' in browser.page.text
    await browser.open(asking(client, ui_locales="ja en"))
    assert '<bdi lang="ja">リーダー</bdi>' in browser.page.text
    browser.headers["accept-language"] = "fr"
    await browser.open(asking(client))
    assert "<bdi>Reader</bdi>" in browser.page.text


@pytest.mark.requirement("BASE-29")
async def test_pages_are_framed_cached_and_scripted_by_nobody(server: Served, browser: Browser) -> None:
    """Every page: no framing, no storing, no script, no referrer, and nothing from anywhere else; all under 50 KB."""
    client = await register(server)
    pages = [await browser.open(asking(client))]
    sizes = [len(browser.page.content)]
    headers = [browser.page.headers]
    await browser.sign_in()
    sizes.append(len(browser.page.content))
    headers.append(browser.page.headers)
    for path in ("/account", "/authorize", "/consent?i=x"):
        await browser.open(path)
        sizes.append(len(browser.page.content))
        headers.append(browser.page.headers)
    for given in headers:
        policy = given["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert given["x-frame-options"] == "DENY"
        assert given["cache-control"] == "no-store"
        assert given["referrer-policy"] == "no-referrer"
        assert given["x-content-type-options"] == "nosniff"
    style = await server.client.get(browser.read.resources[0])
    assert style.headers["content-type"].startswith("text/css")
    assert max(sizes) + len(style.content) < 50_000
    assert all(urlsplit(resource).netloc == "" for page in pages for resource in page.read.resources)


@pytest.mark.requirement("SEED-22")
async def test_cookies_are_for_this_host_alone(server: Served, browser: Browser) -> None:
    """__Host-, Secure, HttpOnly, SameSite; and another value after the sign-in than before."""
    client = await register(server)
    answer = await server.client.get(asking(client))
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-registrar-main-browser=")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    await browser.open(asking(client))
    await browser.sign_in()
    first = server.client.cookies["__Host-registrar-main-session"]
    await browser.open(asking(client, prompt="login"))
    await browser.sign_in()
    assert server.client.cookies["__Host-registrar-main-session"] != first


async def test_a_planted_session_is_worth_nothing_after_a_sign_in(server: Served, browser: Browser) -> None:
    """Whoever knew the value that the browser had before does not have the one after it."""
    server.client.cookies.set("__Host-registrar-main-session", "planted", domain="as.example", path="/")
    await at_consent(server, browser)
    stranger = httpx2.AsyncClient(transport=server.client._transport, base_url=ISSUER)
    stranger.cookies.set("__Host-registrar-main-session", "planted", domain="as.example", path="/")
    assert "Sign in" in (await Browser(stranger).open("/account")).words


@pytest.mark.parametrize("forged", ["", "forged", "\u20ac"])
async def test_a_forged_decision_decides_nothing(server: Served, browser: Browser, forged: str) -> None:
    """A form that another site sends lacks what this browser's form has; the question is asked again."""
    await at_consent(server, browser)
    identifier = browser.read.forms[0].fields["i"]
    await browser.send("/consent", {"i": identifier, "proof": forged, "decision": "allow"})
    assert "Allow access" in browser.words
    assert not browser.left_for
    assert await told(server, "consent.given") == []


async def test_a_proof_of_another_page_or_browser_does_not_count(server: Served, browser: Browser) -> None:
    """It is bound to the request, the session and the browser."""
    await at_consent(server, browser)
    first = dict(browser.read.forms[0].fields)
    await browser.open(asking(await register(server)))
    second = dict(browser.read.forms[0].fields)
    await browser.send("/consent", {"i": second["i"], "proof": first["proof"], "decision": "allow"})
    assert "Allow access" in browser.words
    stranger = Browser(httpx2.AsyncClient(transport=server.client._transport, base_url=ISSUER))
    await stranger.send("/consent", {**second, "decision": "allow"})
    assert "began in another browser" in stranger.words


async def test_a_forged_sign_in_signs_nobody_in(server: Served, browser: Browser) -> None:
    """Login CSRF: another site cannot make this browser somebody else's."""
    await browser.open(asking(await register(server)))
    fields = dict(browser.read.forms[0].fields)
    await browser.send(
        "/sign-in", {**fields, "proof": "x", "username": "alice", "password": "correct horse battery staple"}
    )
    assert browser.page.status_code == 403
    assert "__Host-registrar-main-session" not in server.client.cookies


async def test_a_wrong_password_is_told_and_guessing_slowed(server: Served, browser: Browser) -> None:
    """The page says that one of the two is wrong and not which; after five times it says how long to wait."""
    await browser.open(asking(await register(server)))
    for _ in range(5):
        await browser.sign_in(password="wrong")
        assert browser.page.status_code == 401
        assert "The name or the password is not right." in browser.words
    await browser.sign_in()
    assert browser.page.status_code == 429
    assert int(browser.page.headers["retry-after"]) >= 1
    assert len(await told(server, "person.slowed")) == 1


async def test_an_agreement_is_remembered_for_a_client_that_proves_itself(server: Served, browser: Browser) -> None:
    """The second time nobody asks; for more scopes, and with prompt=consent, somebody does."""
    client = await at_consent(server, browser)
    await browser.submit(ALLOW)
    await browser.open(asking(client))
    assert browser.answer["code"]
    await browser.open(asking(client, scope="openid email profile"))
    assert "Read your name and profile profile new" in browser.words
    await browser.open(asking(client, prompt="consent"))
    assert "Allow access" in browser.words


@pytest.mark.requirement("SEED-70")
@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"redirect_uris": ["https://app.example/cb", "https://other.example/cb"]}, True),
        ({"client_name": "Other"}, True),
        ({"redirect_uris": ["https://app.example/cb", "https://app.example/other"]}, False),
        ({"contacts": ["a@b.example"]}, False),
    ],
)
async def test_an_agreement_does_not_cover_what_its_client_became(
    server: Served, browser: Browser, change: dict[str, object], asked: bool
) -> None:
    """A client that got more than it had is asked about again; once, and what it had before stays as it was."""
    client = await at_consent(server, browser)
    await browser.submit(ALLOW)
    server.clock.advance(10)
    members = {**server_metadata(client), **change}
    await client_administration.change(
        server.registry, server.issuer, server.operator, str(client["client_id"]), Presented(members)
    )
    server.clock.advance(10)
    await browser.open(asking(client))
    assert ("Allow access" in browser.words) is asked
    if asked:
        await browser.submit(ALLOW)
        await browser.open(asking(client))
        assert browser.answer["code"]


async def put(server: Served, client: dict[str, object], **changes: object) -> None:
    """An update by the client itself."""
    members = {**server_metadata(client), "client_id": client["client_id"], **changes}
    answer = await server.client.put(
        str(client["registration_client_uri"]),
        json=members,
        headers={"authorization": f"Bearer {client['registration_access_token']}"},
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.requirement("SEED-70")
@pytest.mark.parametrize(
    "change",
    [
        {"client_name": "Bank"},
        {"logo_uri": "https://app.example/bank.png"},
        {"scope": "openid email profile calendar.read"},
        {"redirect_uris": ["https://app.example/cb", "https://other.example/cb"]},
        {"policy_uri": "https://app.example/other"},
    ],
)
async def test_a_page_that_was_left_open_does_not_count_for_what_its_client_became(
    server: Served, browser: Browser, change: dict[str, object]
) -> None:
    """What was read is what is agreed to: after a change the page is shown again, as the client is now, and then counts."""
    client = await at_consent(server, browser)
    left_open = dict(browser.read.forms[0].fields)
    server.clock.advance(10)
    await put(server, client, **change)
    server.clock.advance(10)
    await browser.send("/consent", {**left_open, "decision": "allow"})
    assert not browser.left_for
    assert "Allow access" in browser.words
    assert str(change.get("client_name", "Reader")) in browser.words
    assert await told(server, "consent.given") == []
    await browser.submit(ALLOW)
    assert browser.answer["code"]
    await browser.open(asking(client))
    assert browser.answer["code"]


@pytest.mark.requirement("SEED-70")
async def test_a_template_that_expands_is_agreed_to_anew(server: Served, browser: Browser) -> None:
    """For each of its instances: a page that was open is shown again, and an agreement from before does not count."""
    acting = (server.registry, server.issuer, server.operator)
    whole = {"client_name": "Fleet", "redirect_uris": ["https://app.example/cb"]}
    await templates.create(*acting, "fleet", templates.Wanted(whole))
    client = await at_consent(server, browser, template_id="fleet")
    await templates.change(*acting, "fleet", templates.Wanted({**whole, "client_name": "Bank"}))
    await browser.submit(ALLOW)
    assert not browser.left_for
    assert "Bank" in browser.words
    server.clock.advance(1)
    await browser.submit(ALLOW)
    assert browser.answer["code"]
    await browser.open(asking(client))
    assert browser.answer["code"]
    await templates.change(*acting, "fleet", templates.Wanted({**whole, "client_name": "Third"}))
    await browser.open(asking(client))
    assert "Allow access" in browser.words
    assert "Third" in browser.words


async def test_a_page_left_open_is_good_while_only_credentials_rotate(server: Served, browser: Browser) -> None:
    """Nothing that is shown has changed."""
    client = await at_consent(server, browser)
    acting = (server.registry, server.issuer, server.operator)
    await administration.reissue_token(*acting, str(client["client_id"]))
    await browser.submit(ALLOW)
    assert browser.answer["code"]


@pytest.mark.requirement("SEED-70")
async def test_two_expansions_within_a_second_are_two(server: Served, browser: Browser) -> None:
    """An agreement is to one of them, whatever the clock says."""
    client = await at_consent(server, browser)
    await put(server, client, client_name="Two")
    await browser.submit(ALLOW)
    await browser.submit(ALLOW)
    assert browser.answer["code"]
    await put(server, client, client_name="Three")
    await browser.open(asking(client))
    assert "Allow access" in browser.words


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"redirect_uris": ["https://app.example/new"]}, "redirect_uri"),
        ({"scope": "openid"}, "scope"),
        ({"response_types": [], "grant_types": ["client_credentials"]}, "response_type"),
    ],
)
async def test_what_waits_is_held_against_what_is_registered_by_now(
    server: Served, browser: Browser, change: dict[str, object], gone: str
) -> None:
    """An address that its client gave up gets no code, and a scope that it gave up is not given."""
    client = await at_consent(server, browser)
    await put(server, client, **change)
    await browser.submit(ALLOW)
    assert not browser.left_for
    assert f"{gone} is registered no more" in browser.words
    assert await told(server, "consent.given") == []


@pytest.mark.requirement("BASE-27")
@pytest.mark.parametrize("uri", ["http://127.0.0.1:7777/cb", "com.example.app:/cb"])
async def test_a_client_on_a_device_is_asked_about_each_time(server: Served, browser: Browser, uri: str) -> None:
    """And the page says why; prompt=none does not get around it."""
    members = {"redirect_uris": [uri], "token_endpoint_auth_method": "none"}
    client = await at_consent(server, browser, **members)
    assert "another program there could pretend to be it" in browser.words
    await browser.submit(ALLOW)
    assert browser.left_for.startswith(uri)
    await browser.open(asking(client))
    assert "Allow access" in browser.words
    await browser.open(asking(client, prompt="none"))
    assert browser.answer["error"] == "consent_required"


async def test_silence_is_kept_where_it_is_asked_for(server: Served, browser: Browser) -> None:
    """prompt=none: an error instead of a page, or the answer at once (OpenID Connect Core §3.1.2.6)."""
    client = await register(server)
    await browser.open(asking(client, prompt="none"))
    assert browser.answer["error"] == "login_required"
    await browser.open(asking(client))
    await browser.sign_in()
    await browser.submit(ALLOW)
    await browser.open(asking(client, prompt="none"))
    assert browser.answer["code"]


async def test_a_fresh_sign_in_where_it_is_asked_for(server: Served, browser: Browser) -> None:
    """prompt=login and a max_age that has passed ask again, once; a max_age that has not does not."""
    client = await at_consent(server, browser)
    await browser.submit(ALLOW)
    server.clock.advance(100)
    await browser.open(asking(client, max_age="1000"))
    assert browser.answer["code"]
    await browser.open(asking(client, max_age="99"))
    assert "Sign in" in browser.words
    await browser.sign_in()
    assert browser.answer["code"]
    await browser.open(asking(client, prompt="login"))
    await browser.sign_in()
    assert browser.answer["code"]


async def test_a_person_chooses_the_account(server: Served, browser: Browser) -> None:
    """prompt=select_account offers who is signed in, and another; consent offers another too."""
    await add(server, "bob")
    client = await at_consent(server, browser)
    await browser.submit(ALLOW)
    await browser.open(asking(client, prompt="select_account"))
    assert "Continue as Alice Liddell" in browser.words
    await browser.submit(("choice", "continue"))
    assert browser.answer["code"]
    await browser.open(asking(client, prompt="select_account"))
    await browser.open(next(link["href"] for link in browser.read.links if "other" in link["href"]))
    await browser.sign_in("bob")
    assert "You are signed in as bob" in browser.words
    await browser.submit(("decision", "other"))
    assert "Password" in browser.words


async def test_a_hint_fills_in_the_name(server: Served, browser: Browser) -> None:
    """login_hint."""
    await browser.open(asking(await register(server), login_hint="alice"))
    assert browser.read.forms[0].fields["username"] == "alice"


@pytest.mark.requirement("BASE-13")
async def test_an_unknown_client_gets_a_page_and_nobody_is_sent_anywhere(browser: Browser) -> None:
    """There is nobody whom an answer could go to."""
    for url in (
        "/authorize",
        "/authorize?client_id=nobody&redirect_uri=https://evil.example/",
        "/authorize?client_id=%00",
    ):
        await browser.open(url)
        assert browser.page.status_code in (400, 401)
        assert not browser.left_for
        assert browser.page.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_client_that_ends_meanwhile_gets_nothing(server: Served, browser: Browser) -> None:
    """Suspended or deleted between the question and the answer: a page says so."""
    client = await at_consent(server, browser)
    await administration.suspend(server.registry, server.issuer, server.operator, str(client["client_id"]), "")
    await browser.submit(ALLOW)
    assert "suspended or removed" in browser.words
    client = await register(server)
    await browser.open(asking(client))
    await administration.delete(server.registry, server.issuer, server.operator, str(client["client_id"]), "")
    await browser.submit(ALLOW)
    assert not browser.left_for


async def test_a_decision_is_made_once(server: Served, browser: Browser) -> None:
    """The second press of the button, in another tab, gives no second code."""
    await at_consent(server, browser)
    fields = dict(browser.read.forms[0].fields)
    await browser.submit(ALLOW)
    await browser.send("/consent", {**fields, "decision": "allow"})
    assert "is over" in browser.words


async def test_somebody_disabled_meanwhile_allows_nothing(server: Served, browser: Browser) -> None:
    """The session has ended, so the page asks for a sign-in."""
    await at_consent(server, browser)
    alice = await people.by_username(server.registry, server.issuer, "alice")
    assert alice is not None
    await people.set_disabled(server.registry, server.issuer, alice, True, server.operator.actor())
    await browser.submit(ALLOW)
    assert "Password" in browser.words
    assert not browser.left_for


async def test_a_long_state_comes_back_whole(server: Served, browser: Browser) -> None:
    """Four kilobytes of it."""
    client = await register(server)
    state = "s" * 4096
    await browser.open(asking(client, state=state))
    await browser.sign_in()
    await browser.submit(ALLOW)
    assert browser.answer["state"] == state


async def test_a_post_is_as_good_as_a_get(server: Served, browser: Browser) -> None:
    """OpenID Connect Core §3.1.2.1; any other media type is refused with a page."""
    client = await register(server)
    await browser.send(
        "/authorize",
        {
            "client_id": client["client_id"],
            "response_type": "code",
            "redirect_uri": "https://app.example/cb",
            "scope": "openid",
            "code_challenge": "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM",
            "code_challenge_method": "S256",
        },
    )
    assert "Sign in" in browser.words
    answer = await server.client.post("/authorize", json={"client_id": client["client_id"]})
    assert answer.status_code == 415
    assert "<h1>" in answer.text


async def test_an_account_of_ones_own() -> None:
    """Where the operator lets people make accounts, they sign in with it at once; elsewhere nobody does."""
    async with served(CONFIGURATION + "\n[issuer.main.people]\nsign_up = true\n") as server:
        mine = Browser(server.client)
        client = await register(server)
        await mine.open(asking(client))
        await mine.open(next(link["href"] for link in mine.read.links if "sign-up" in link["href"]))
        await mine.submit(username="bob", password="short")
        assert "12 to 512 characters" in mine.words
        await mine.submit(username="bob", password="correct horse battery", email="no address")
        assert "no e-mail address" in mine.words
        await mine.submit(username="bob", password="correct horse battery", email="bob@example.com", name="Bob")
        assert "asks for access to the account of Bob" in mine.words


async def test_accounts_are_made_by_the_operator_by_default(server: Served, browser: Browser) -> None:
    """There is no link to a sign-up, and its page is closed."""
    await browser.open(asking(await register(server)))
    assert "sign-up" not in browser.page.text
    identifier = browser.read.forms[0].fields["i"]
    await browser.open(f"/sign-up?i={identifier}")
    assert browser.page.status_code == 403


async def test_a_logo_comes_through_the_guard() -> None:
    """Of a registered client, as an image that can run nothing; what is no image, or cannot be fetched, is not there."""
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    documents = Documents({"https://app.example/logo.svg": Fetched("", "image/svg+xml", svg)})
    async with served(CONFIGURATION, fetch=documents) as server:
        client = await register(server, logo_uri="https://app.example/logo.svg")
        answer = await server.client.get(f"/logo/{client['client_id']}")
        assert answer.content == svg
        assert answer.headers["content-type"] == "image/svg+xml"
        assert answer.headers["content-security-policy"].endswith("sandbox")
        assert answer.headers["x-content-type-options"] == "nosniff"
        await server.client.get(f"/logo/{client['client_id']}")
        assert documents.fetched == ["https://app.example/logo.svg"]
        gone = await register(server, logo_uri="https://app.example/gone.png")
        without = await register(server)
        for client_id in (gone["client_id"], without["client_id"], "nobody", "..%2f"):
            assert (await server.client.get(f"/logo/{client_id}")).status_code == 404


async def test_a_grant_is_what_a_person_allowed(server: Served, browser: Browser) -> None:
    """The account's page shows it with what it may do, and taking it away ends it and the memory of it."""
    client = await at_consent(server, browser)
    await browser.submit(ALLOW)
    await exchange(server, client, browser.answer["code"])
    await browser.open("/account")
    assert "Reader" in browser.words
    assert "Read your e-mail address" in browser.words
    assert "by itself; nobody was asked" in browser.words
    await browser.submit(("revoke", str(client["client_id"])))
    assert "Its access has ended." in browser.words
    assert "No application has access" in browser.words
    alice = await people.by_username(server.registry, server.issuer, "alice")
    assert alice is not None
    assert await grant.of_person(server.registry, server.issuer, alice.subject, server.clock.now) == []
    await browser.open(asking(client))
    assert "Allow access" in browser.words


async def test_a_person_signs_out(server: Served, browser: Browser) -> None:
    """The session is over, here and in the store; a forged form does not do it."""
    await at_consent(server, browser)
    await browser.open("/account")
    await browser.send("/account", {"sign_out": "1", "proof": "x"})
    assert "You are signed in as" in browser.words
    await browser.submit(("sign_out", "1"))
    assert "You are signed out" in browser.words
    await browser.open("/account")
    assert "Password" in browser.words
    assert len(await told(server, "person.signed_out")) == 1


async def test_pages_read_without_sight(server: Served, browser: Browser) -> None:
    """A language, one first heading, a title, and a label for every field."""
    client = await register(server)
    for url in (asking(client), "/account", "/authorize"):
        await browser.open(url)
        text = browser.page.text
        assert '<html lang="en">' in text
        assert text.count("<h1>") == 1
        assert re.search(r"<title>[^<]+</title>", text)
        fields = re.findall(r'<input id="(\w+)"', text)
        assert all(f'<label for="{name}">' in text for name in fields)


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("BASE-26")
async def test_an_error_before_the_sign_in_is_shown(server: Served, browser: Browser) -> None:
    """Who registered an address by themselves sends nobody there with a request that is wrong on purpose (RFC 9700)."""
    client = await register(server)
    wrong = asking(client, scope="unknown")
    await browser.open(wrong)
    assert browser.page.status_code == 400
    assert "it is answered at app.example" in browser.words
    (back,) = [link["href"] for link in browser.read.links]
    assert back.startswith("https://app.example/cb?error=invalid_scope")
    await browser.open(asking(client))
    await browser.sign_in()
    await browser.open(wrong)
    assert browser.answer["error"] == "invalid_scope"
    assert browser.answer["state"] == "s"


async def test_an_error_goes_to_a_client_that_the_operator_let_in(server: Served, browser: Browser) -> None:
    """Nobody chose its address at will; and prompt=none is answered in silence whoever asks."""
    token, _ = await initial_access.issue_token(server.registry, server.issuer, server.operator)
    members = {"client_name": "Reader", "redirect_uris": ["https://app.example/cb"]}
    headers = {"authorization": f"Bearer {token}"}
    known = (await server.client.post("/register", json=members, headers=headers)).json()
    await browser.open(asking(known, scope="unknown"))
    assert browser.answer["error"] == "invalid_scope"
    await browser.open(asking(await register(server), scope="unknown", prompt="none"))
    assert browser.answer["error"] == "invalid_scope"


@pytest.mark.requirement("BASE-13")
@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/cb",
        "https://app.example/cb/",
        "https://app.example/cb?x=1",
        "https://APP.example/cb",
        "https://app.example/CB",
        "https://app.example/%63b",
        "https://app.example:443/cb",
        "https://user@app.example/cb",
        "https://app.example.evil.example/cb",
        "http://app.example/cb",
        "javascript:alert(1)",
    ],
)
async def test_an_address_that_is_not_registered_is_never_followed(server: Served, browser: Browser, uri: str) -> None:
    """Not redirected to, not linked to, not shown."""
    client = await register(server)
    for more in ({}, {"prompt": "none"}):
        await browser.open(asking(client, redirect_uri=uri, **more))
        assert browser.page.status_code == 400
        assert not browser.left_for
        assert browser.read.links == []


async def test_an_answer_in_a_form(server: Served, browser: Browser) -> None:
    """response_mode=form_post: a form that sends itself where scripts run, and has a button where they do not."""
    client = await register(server)
    await browser.open(asking(client, response_mode="form_post"))
    await browser.sign_in()
    await browser.submit(ALLOW)
    form = browser.read.forms[0]
    assert form.action == "https://app.example/cb"
    assert {"code", "state", "iss"} == set(form.fields)
    policy = browser.page.headers["content-security-policy"]
    script = re.search(r"<script>(.*?)</script>", browser.page.text)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy.endswith(f"script-src 'sha256-{digest}'")
    assert "form-action 'self' https:;" in policy


@pytest.mark.requirement("DISC-16")
async def test_the_operators_own_pages_are_linked() -> None:
    """Wherever somebody decides about an account here: how it is used, and on which terms."""
    pages = 'policy_page = "https://op.example/privacy"\nterms_page = "https://op.example/terms"\n'
    text = CONFIGURATION.replace('url = "https://as.example"\n', f'url = "https://as.example"\n{pages}')
    async with served(text) as server:
        browser = Browser(server.client)
        await browser.open(asking(await register(server)))
        links = {link["href"] for link in browser.read.links}
        assert {"https://op.example/privacy", "https://op.example/terms"} <= links


async def test_an_address_cannot_write_into_the_policy(server: Served, browser: Browser) -> None:
    """A redirect URI may hold a semicolon, which ends a directive of the Content-Security-Policy."""
    uri = "https://app.example/cb;sandbox"
    client = await register(server, redirect_uris=[uri])
    await browser.open(asking(client, response_mode="form_post"))
    await browser.sign_in()
    assert "sandbox" not in browser.page.headers["content-security-policy"]
    await browser.submit(ALLOW)
    assert browser.read.forms[0].action == uri
    assert "sandbox" not in browser.page.headers["content-security-policy"]


async def test_an_issuer_with_a_path() -> None:
    """Pages, cookies and links stay under it."""
    async with issuing(CONFIGURATION.replace("https://as.example", "https://as.example/one")) as server:
        browser = Browser(server.client)
        await add(server)
        answer = await server.client.post("/register", json={"redirect_uris": ["https://app.example/cb"]})
        await browser.open(asking(answer.json()))
        assert all(one.startswith("/one/") for one in browser.read.resources)
        await browser.sign_in()
        await browser.submit(ALLOW)
        assert browser.answer["iss"] == "https://as.example/one"


async def test_development_cookies_are_no_host_cookies() -> None:
    """On plain http, which is loopback alone, they have another name, so neither is taken for the other."""
    async with issuing(CONFIGURATION.replace("https://as.example", "http://127.0.0.1:8000")) as server:
        answer = await server.client.get("/account")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("insecure-registrar-main-browser=")
        assert "Secure" not in cookie
        assert "HttpOnly" in cookie


@pytest.mark.parametrize(
    "path", ["/authorize", "/sign-in", "/consent", "/account", "/device", "/end_session", "/sign-up"]
)
async def test_a_request_of_any_shape_gets_a_page(server: Served, path: str) -> None:
    """Whatever stands in the query: no error of ours, nothing of it in the page, and no redirect but to a page of ours."""
    many = "&".join(f"p{number}=1" for number in range(200))
    for query in ("i=x&i=y", "i=%00", "i=%ff", many, "page=account&self=1", "i=" + "x" * 5000):
        answer = await server.client.get(f"{path}?{query}")
        assert answer.status_code < 500
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/sign-in?i=")
        else:
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
        headers = {"content-type": "application/x-www-form-urlencoded"}
        posted = await server.client.post(path, content=query, headers=headers)
        assert posted.status_code < 500


async def test_a_hint_of_another_person_asks_for_that_person(server: Served, browser: Browser) -> None:
    """id_token_hint: whose token it is may go on; anybody else signs in, or is an error where nothing may be shown."""
    await add(server, "bob")
    client = await at_consent(server, browser)
    await browser.submit(ALLOW)
    hint = str((await exchange(server, client, browser.answer["code"]))["id_token"])
    await browser.open(asking(client, id_token_hint=hint, prompt="none"))
    assert browser.answer["code"]
    await browser.open(asking(client, prompt="login"))
    await browser.sign_in("bob")
    await browser.open(asking(client, id_token_hint=hint, prompt="none"))
    assert browser.answer["error"] == "login_required"
    await browser.open(asking(client, id_token_hint=hint))
    assert "Sign in" in browser.words
    await browser.sign_in("bob")
    assert "Password" in browser.words
    await browser.sign_in("alice")
    assert browser.answer["code"]


async def test_particulars_that_are_asked_for_are_named(server: Served, browser: Browser) -> None:
    """Claims one by one, and the resource that the access is for, as they are asked for."""
    client = await register(server)
    claims = json.dumps({"userinfo": {"phone_number": {"essential": True}}})
    await browser.open(asking(client, claims=claims))
    await browser.sign_in()
    assert "Read these particulars: phone_number" in browser.words
    await browser.submit(ALLOW)
    await browser.open(asking(client))
    assert browser.answer["code"]
    await browser.open(asking(client, claims=json.dumps({"id_token": {"birthdate": None}})))
    assert "birthdate" in browser.words


async def test_two_tabs_do_not_get_into_each_others_way(server: Served, browser: Browser) -> None:
    """A sign-in in one leaves the other where it was; its form asks once more instead of failing."""
    first, second = await register(server), await register(server, client_name="Writer")
    await browser.open(asking(first))
    other = Browser(server.client)
    await other.open(asking(second))
    await browser.sign_in()
    await other.sign_in()
    assert "out of date" in other.words
    await other.sign_in()
    assert "Writer" in other.words
    await other.submit(ALLOW)
    assert other.answer["code"]


async def test_a_person_brings_an_application_back(server: Served, browser: Browser) -> None:
    """One that nobody used for long is asked about as ever, and is active when it is allowed, and not before."""
    client = await register(server)
    client_id = str(client["client_id"])
    server.clock.advance(83 * DAY)
    await sweep.sweep(server.registry)
    server.clock.advance(7 * DAY)
    await sweep.sweep(server.registry)
    assert await standing(server, client_id) is State.SUSPENDED
    await browser.open(asking(client))
    await browser.sign_in()
    assert "Allow access to your account?" in browser.words
    assert await standing(server, client_id) is State.SUSPENDED
    await browser.submit(ALLOW)
    assert browser.answer["code"]
    assert await standing(server, client_id) is State.ACTIVE
    assert await last_use.at(server.registry.store, "main", client_id) == server.clock.now
    (event,) = await told(server, "client.resumed")
    assert event["client_id"] == client_id


async def standing(server: Served, client_id: str) -> State:
    """The state that is stored."""
    client = await server.registry.store.find("main", client_id)
    assert client is not None
    return client.state
