"""A browser of plain HTML: it follows redirects and links, fills in forms and presses buttons. No JavaScript."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2

from registrar.testing import Served

_REDIRECTS = 10


@dataclasses.dataclass
class Form:
    """A form: where it goes, what it holds, and its buttons by what stands on them."""

    action: str
    method: str = "get"
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)


class Page(HTMLParser):
    """A page, as far as the tests look at it.

    Args:
        answer: the answer that it came with.
    """

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__()
        self.url, self.status, self.html = str(answer.url), answer.status_code, answer.text
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        """What stands on a link -> where it leads."""
        self.images: list[str] = []
        self.frames: list[str] = []
        self.text = ""
        self._link: str | None = None
        self._button: tuple[str, str] | None = None
        self._said = ""
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a test can use."""
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "form":
                self.forms.append(Form(urljoin(self.url, given.get("action", "")), given.get("method", "get").lower()))
            case "input" if self.forms and "name" in given:
                self.forms[-1].fields[given["name"]] = given.get("value", "")
            case "button":
                self._button, self._said = (given.get("name", ""), given.get("value", "")), ""
            case "a":
                self._link, self._said = urljoin(self.url, given.get("href", "")), ""
            case "img":
                self.images.append(urljoin(self.url, given.get("src", "")))
            case "iframe":
                self.frames.append(given.get("src", ""))

    def handle_endtag(self, tag: str) -> None:
        """Give a link or a button the words that stood on it."""
        words = " ".join(self._said.split())
        if tag == "a" and self._link is not None:
            self.links[words] = self._link
            self._link = None
        if tag == "button" and self._button is not None and self.forms:
            self.forms[-1].buttons[words] = self._button
            self._button = None

    def handle_data(self, data: str) -> None:
        """Keep the words."""
        self.text += data
        self._said += data


class Callback(dict[str, str]):
    """What came back to the client, by the address or by a form; `url` without it.

    Args:
        url: where it came.
        parameters: with what.
        place: `query`, `fragment` or `form_post`.
    """

    def __init__(self, url: str, parameters: dict[str, str], place: str) -> None:
        super().__init__(parameters)
        self.url, self.place = url, place


class Browser:
    """A browser with cookies of its own.

    Args:
        server: what it visits; every other host is a client's, whose addresses it only reads.
    """

    def __init__(self, server: Served) -> None:
        self.client = httpx2.AsyncClient(transport=server.client._transport, base_url=server.issuer.url)
        self._host = urlsplit(server.issuer.url).netloc

    async def open(self, url: str, *, post: dict[str, str] | None = None) -> Page | Callback:
        """Go to an address, by a form where `post` is given, until something is shown or a client is reached."""
        answer = await (self.client.get(url) if post is None else self.client.post(url, data=post))
        for _ in range(_REDIRECTS):
            if not answer.has_redirect_location:
                return self._shown(answer)
            target = urljoin(str(answer.url), answer.headers["location"])
            if urlsplit(target).netloc != self._host:
                return _called_back(target)
            answer = await self.client.get(target)
        raise AssertionError("redirects have no end")

    def _shown(self, answer: httpx2.Response) -> Page | Callback:
        page = Page(answer)
        if len(page.forms) == 1 and urlsplit(page.forms[0].action).netloc != self._host:
            return Callback(page.forms[0].action, page.forms[0].fields, "form_post")
        return page

    async def press(self, page: Page, button: str, **filled: str) -> Page | Callback:
        """Fill in the form that has a button, and press it."""
        form = next(form for form in page.forms if button in form.buttons)
        fields = {**form.fields, **filled}
        name, value = form.buttons[button]
        if name:
            fields[name] = value
        if form.method == "post":
            return await self.open(form.action, post=fields)
        return await self.open(str(httpx2.URL(form.action, params=fields)))

    async def close(self) -> None:
        """Let go."""
        await self.client.aclose()


def _called_back(url: str) -> Callback:
    parts = urlsplit(url)
    place = "fragment" if parts.fragment else "query"
    parameters: dict[str, Any] = dict(parse_qsl(parts.fragment or parts.query, keep_blank_values=True))
    return Callback(url.partition("#")[0].partition("?")[0], parameters, place)
