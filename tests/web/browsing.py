"""A browser without JavaScript: it follows redirects on the issuer, fills in forms, and stops where it would leave."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx2

from registrar.authorization import people
from registrar.authorization.people import Person
from registrar.service import keys
from registrar.testing import Served, served

PASSWORD = "correct horse battery staple"
ISSUER = "https://as.example"
VERIFIER = "v" * 43
CHALLENGE = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"
CONFIGURATION = """
[server]
database = "memory:"
[issuer.main]
url = "https://as.example"
[issuer.main.registration]
mode = "open"
[issuer.main.scopes]
catalogue = ["openid", "profile", "email", "offline_access", "calendar.read"]
default = ["openid", "profile", "email"]
descriptions = { "calendar.read" = "Read your calendar" }
"""


@dataclass
class Form:
    """A form of a page."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class Reading(HTMLParser):
    """The forms, links and images of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[dict[str, str]] = []
        self.resources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given["action"]))
        elif tag == "input":
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and "name" in given:
            self.forms[-1].buttons.append((given["name"], given["value"]))
        elif tag == "a":
            self.links.append(given)
        elif tag in ("img", "script", "iframe") and "src" in given:
            self.resources.append(given["src"])
        elif tag == "link":
            self.resources.append(given["href"])

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@dataclass
class Browser:
    """Somebody's browser."""

    client: httpx2.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)
    response: httpx2.Response | None = None
    left_for: str = ""
    """Where it was sent that is not the issuer."""

    @property
    def page(self) -> httpx2.Response:
        """What is shown."""
        assert self.response is not None
        return self.response

    @property
    def read(self) -> Reading:
        """The page's forms and links."""
        return Reading(self.page.text)

    @property
    def words(self) -> str:
        """The page's text, as it is read."""
        return re.sub(r"\s+", " ", " ".join(self.read.words)).strip()

    @property
    def answer(self) -> dict[str, str]:
        """The parameters with which it was sent to the client."""
        assert self.left_for, self.words
        parts = urlsplit(self.left_for)
        return dict(parse_qsl(parts.query or parts.fragment))

    async def open(self, url: str) -> Browser:
        """Go to a URL."""
        return await self._arrive(await self.client.get(url, headers=self.headers))

    async def submit(self, press: tuple[str, str] | None = None, at: int = -1, **fields: str) -> Browser:
        """Send a form with these fields filled in."""
        form = next((one for one in self.read.forms if press in one.buttons), self.read.forms[at])
        sent = {**form.fields, **fields, **(dict([press]) if press else {})}
        return await self.send(form.action, sent)

    async def send(self, url: str, form: dict[str, str]) -> Browser:
        """Send a form of our own making."""
        headers = {"content-type": "application/x-www-form-urlencoded", **self.headers}
        target = urljoin(str(self.page.url), url) if self.response else url
        return await self._arrive(await self.client.post(target, content=urlencode(form), headers=headers))

    async def sign_in(self, username: str = "alice", password: str = PASSWORD) -> Browser:
        """Fill in the sign-in form."""
        return await self.submit(username=username, password=password)

    async def _arrive(self, response: httpx2.Response) -> Browser:
        self.left_for = ""
        while response.status_code in (302, 303):
            target = urljoin(str(response.url), response.headers["location"])
            if not target.startswith(str(self.client.base_url).rstrip("/")):
                self.left_for = target
                break
            response = await self.client.get(target, headers=self.headers)
        self.response = response
        return self


@asynccontextmanager
async def issuing(configuration: str = CONFIGURATION, **how: Any) -> AsyncIterator[Served]:
    """A configuration that is served, with the keys that ID tokens are signed with."""
    async with served(configuration, **how) as server:
        await keys.ensure(server.registry, server.issuer)
        yield server


async def add(server: Served, username: str = "alice", **claims: Any) -> Person:
    """Somebody with an account."""
    return await people.add(
        server.registry, server.issuer, username, PASSWORD, claims=claims, actor=server.operator.actor()
    )


async def register(server: Served, **members: Any) -> dict[str, Any]:
    """A client."""
    given = {"client_name": "Reader", "redirect_uris": ["https://app.example/cb"]} | members
    answer = await server.client.post("/register", json=given)
    assert answer.status_code == 201, answer.text
    registered: dict[str, Any] = answer.json()
    return registered


def asking(client: dict[str, Any], **parameters: str) -> str:
    """The authorization request of a client."""
    given = {
        "client_id": client["client_id"],
        "response_type": "code",
        "redirect_uri": client["redirect_uris"][0],
        "scope": "openid email",
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **parameters,
    }
    return f"/authorize?{urlencode({name: value for name, value in given.items() if value})}"


ALLOW = ("decision", "allow")
REFUSE = ("decision", "refuse")


async def exchange(server: Served, client: dict[str, Any], code: str) -> dict[str, Any]:
    """The tokens for a code."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client["redirect_uris"][0],
        "code_verifier": VERIFIER,
    }
    auth = None
    method = client["token_endpoint_auth_method"]
    if method == "client_secret_basic":
        auth = (client["client_id"], client["client_secret"])
    else:
        form["client_id"] = client["client_id"]
    if method == "client_secret_post":
        form["client_secret"] = client["client_secret"]
    answer = await server.client.post("/token", data=form, auth=auth)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens
