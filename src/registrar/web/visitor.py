"""Who looks at a page: the request, the browser's two cookies, the session, and the answers made for them."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from registrar.authorization import call, interaction, logout, sessions
from registrar.authorization.authorization_response import FormPost, Redirect
from registrar.authorization.call import Parameters
from registrar.authorization.interaction import Waiting
from registrar.authorization.people import Person
from registrar.authorization.sessions import Visit
from registrar.domain.errors import ProtocolError, RegistrationError
from registrar.domain.redirect_uri import Kind
from registrar.domain.server_metadata import ENDPOINTS, PAGES
from registrar.http import wire
from registrar.http.endpoints import Endpoint, Exchange, address_of
from registrar.http.wire import Answer
from registrar.service.ports import StoreUnavailable
from registrar.service.registry import Issuer, Registry
from registrar.web import languages
from registrar.web.portrait import destination

if TYPE_CHECKING:
    import jinja2

log = logging.getLogger("registrar")

_COOKIE: Final = 128
"""Characters of a cookie's value that is looked at: more than any that is issued."""


@dataclass(slots=True)
class Visitor:
    """Somebody at a page of an issuer."""

    exchange: Exchange
    browser: str
    """The value that stays with this browser."""
    session: str
    """The value of the session's cookie; empty where there is none."""
    visit: Visit | None
    """The session, where it lives."""
    given: Parameters
    """The parameters: of the query, or of the form that was sent."""
    new: bool = False
    """Whether the browser came without any cookie."""
    cookies: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        """What every use case is given."""
        return self.exchange.registry

    @property
    def issuer(self) -> Issuer:
        """Whose page it is."""
        return self.exchange.issuer

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return address_of(self.exchange.scope)

    @property
    def base(self) -> str:
        """The path that every page of the issuer begins with."""
        return urlsplit(self.issuer.url).path

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self.registry.clock() // 1000

    def languages(self, ui_locales: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What this person reads."""
        header = next((value for name, value in self.exchange.scope["headers"] if name == b"accept-language"), b"")
        return languages.wanted(ui_locales, header.decode("ascii", "replace"))

    def path(self, page: str, /, **query: str) -> str:
        """The address of a page on this server; never anything that came with a request."""
        given = {name: value for name, value in query.items() if value}
        return f"{self.base}{_PATHS[page]}{'?' if given else ''}{urlencode(given)}"

    def proof(self, *purpose: str) -> str:
        """What a form carries, so that no other site can have sent it: bound to the browser, the session and the purpose."""
        return sessions.bound(self.browser, "form", self.visit.item.key if self.visit else "", *purpose)

    def proved(self, *purpose: str) -> bool:
        """Whether the form that was sent carries it."""
        value = self.given.get("proof", "")
        return sessions.is_bound(value, self.browser, "form", self.visit.item.key if self.visit else "", *purpose)

    async def waiting(self) -> Waiting:
        """What this browser is in the middle of, as the page's address or form says.

        Raises:
            ProtocolError: `invalid_request`; there is no such thing, or not in this browser.
            StoreUnavailable: the store does not answer.
        """
        found = await interaction.find(self.registry, self.issuer, self.given.get("i", ""), self.browser)
        if found is None:
            raise ProtocolError("invalid_request", _GONE)
        return found

    async def sign_in(self, person: Person, **how: Any) -> None:
        """Begin a session in place of the one that was, and give the browser its new value."""
        self.session, self.visit = await sessions.begin(
            self.registry, self.issuer, person, replaces=self.session, address=self.address, **how
        )
        lifetime = self.issuer.settings.people.session_lifetime
        self.cookies.append(_set_cookie(self.issuer, "session", self.session, lifetime))

    async def sign_out(self) -> list[str]:
        """End the session, and take its value from the browser.

        Returns:
            The addresses that have to be loaded in frames, so that applications hear of it.
        """
        frames = await logout.end(self.registry, self.issuer, self.visit) if self.visit else []
        self.session, self.visit = "", None
        self.cookies.append(_set_cookie(self.issuer, "session", "", 0))
        return frames


_GONE: Final = (
    "This page belongs to a request that is over, or that began in another browser, or this browser keeps no cookies. "
    "Go back to the application and start again."
)

_PATHS: Final = {**PAGES, "authorize": ENDPOINTS["authorization_endpoint"]}
Page = Callable[[Visitor], Awaitable[Answer]]


def page(show: Page) -> Endpoint:
    """An endpoint that shows a page, errors too."""

    async def shown(exchange: Exchange) -> Answer:
        visitor = _unknown(exchange)
        try:
            visitor.given = await _parameters(exchange)
            visitor.visit = await sessions.current(exchange.registry, exchange.issuer, visitor.session)
            return await show(visitor)
        except ProtocolError as error:
            return refused(visitor, error)
        except StoreUnavailable as problem:
            if not problem.overloaded:
                log.error("the store is unavailable: %s", problem)  # noqa: TRY400 (as in the application)
            return refused(visitor, ProtocolError("temporarily_unavailable"))
        except Exception:
            incident = secrets.token_hex(8)
            log.exception("incident %s", incident)
            said = f"Something unexpected happened; the log has it as {incident}."
            return refused(visitor, ProtocolError("server_error", said))

    return shown


def refused(visitor: Visitor, error: ProtocolError, answer: Redirect | FormPost | None = None) -> Answer:
    """An error as a person sees it, with the way back to the client where there is one."""
    uri = answer.uri if isinstance(answer, FormPost) else answer.location if answer else ""
    shown = render(
        visitor,
        "error.html",
        status=error.kind.status,
        form_action=leads_to(uri),
        error=error,
        faults=[fault.fault() for fault in error.faults] if isinstance(error, RegistrationError) else [],
        title=_TITLES.get(error.kind.name, "This did not work"),
        back=destination(uri.partition("#")[0]),
        location=answer.location if isinstance(answer, Redirect) else "",
        uri=uri,
        fields=answer.parameters if isinstance(answer, FormPost) else {},
    )
    return Answer(shown.status, [*shown.headers, *error.headers], shown.body)


def leads_to(uri: str) -> str:
    """Where a page's forms may lead (CSP): here, and on to the client, because browsers hold redirects after a form to it.

    A client's https callback may send people on to another host; which, nobody can know. Hosts in brackets cannot be
    written in a policy.
    """
    place = destination(uri)
    if place is None:
        return "'self'"
    if place.kind is Kind.PRIVATE_USE:
        return f"'self' https: {place.shown}:"
    if place.kind is Kind.LOOPBACK:
        return "'self' https: http:" if place.shown.startswith("[") else f"'self' https: http://{place.shown}:*"
    return "'self' https:"


_TITLES: Final = {
    "too_many_attempts": "Too many attempts",
    "temporarily_unavailable": "Please try again in a moment",
    "access_denied": "This is not open to you",
    "invalid_client": "This application is not known here",
}


async def _parameters(exchange: Exchange) -> Parameters:
    if exchange.scope["method"] != "POST":
        return call.read(exchange.scope["query_string"])
    given = wire.fields(exchange.scope["headers"])
    if given.content_type.partition(b";")[0].strip().lower().decode("ascii", "replace") != call.FORM:
        raise ProtocolError("unsupported_media_type", f"A form is sent as {call.FORM}.")
    limits = exchange.limits
    return call.read(await wire.read_body(given, exchange.receive, limits.body_bytes, limits.body_seconds))


# --- cookies ----------------------------------------------------------------------------------------------------------


def _unknown(exchange: Exchange) -> Visitor:
    """The visitor as the cookies tell, before anything is looked up."""
    browser, session = (_cookie(exchange, name) for name in ("browser", "session"))
    visitor = Visitor(exchange, browser, session, None, Parameters({}))
    if not browser:
        visitor.new, visitor.browser = True, sessions.new_browser(exchange.registry)
        visitor.cookies.append(_set_cookie(exchange.issuer, "browser", visitor.browser, _YEAR))
    return visitor


_YEAR: Final = 365 * 86_400


def _name(issuer: Issuer, name: str) -> str:
    """The cookie's name: `__Host-` keeps other hosts and plain http from setting it (RFC 6265bis §4.1.3.2).

    A development server on plain http cannot have such a cookie, and its cookies have another name, so that neither is
    ever taken for the other. The issuer's name is in it because issuers on one host share a jar.
    """
    prefix = "__Host-" if issuer.url.startswith("https:") else "insecure-"
    return f"{prefix}registrar-{issuer.name}-{name}"


def _set_cookie(issuer: Issuer, name: str, value: str, seconds: int) -> tuple[bytes, bytes]:
    secure = "; Secure" if issuer.url.startswith("https:") else ""
    cookie = f"{_name(issuer, name)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    return b"set-cookie", cookie.encode("ascii")


def _cookie(exchange: Exchange, name: str) -> str:
    wanted = _name(exchange.issuer, name)
    found: list[str] = []
    for header, value in exchange.scope["headers"]:
        if header == b"cookie":
            pairs = (part.strip().partition("=") for part in value.decode("ascii", "replace").split(";"))
            found += [content for key, _, content in pairs if key == wanted]
    # Two of one name mean that somebody else set one; which is whose cannot be told.
    return found[0] if len(found) == 1 and len(found[0]) <= _COOKIE and found[0].isascii() else ""


# --- what is answered -------------------------------------------------------------------------------------------------


@cache
def _templates() -> jinja2.Environment:
    # Loaded when the first page is looked at: it is the slowest single thing to load, and most servers are asked first
    # by clients, which look at none.
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("registrar.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def style() -> bytes:
    """The one style sheet."""
    return files("registrar.web").joinpath("style.css").read_bytes()


@cache
def _style_version() -> str:
    return hashlib.sha256(style()).hexdigest()[:16]


def render(
    visitor: Visitor,
    template: str,
    *,
    status: int = 200,
    form_action: str = "'self'",
    more_policy: str = "",
    **values: Any,
) -> Answer:
    """A page, which nobody may frame, keep or run anything in.

    Args:
        visitor: who it is for.
        template: its name.
        status: of the answer.
        form_action: where its forms may lead (Content-Security-Policy).
        more_policy: what else this page may do.
        values: what is shown.
    """
    text = (
        _templates()
        .get_template(template)
        .render(
            visitor=visitor,
            path=visitor.path,
            style=_style_version(),
            host=urlsplit(visitor.issuer.url).netloc,
            service=_service(visitor.issuer),
            **values,
        )
    )
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {form_action}{more_policy}"
    )
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", policy.encode("ascii", "replace")),
        (b"x-frame-options", b"DENY"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        *visitor.cookies,
    ]
    return Answer(status, headers, text.encode())


def _service(issuer: Issuer) -> list[tuple[str, str]]:
    """The operator's own pages."""
    pages = (("Privacy", issuer.settings.policy_page), ("Terms", issuer.settings.terms_page))
    return [(label, url) for label, url in pages if url]


def again(visitor: Visitor, page: str) -> Answer | None:
    """Have a form that another site sent come again with GET: only then do cookies come with it (SameSite=Lax)."""
    if visitor.exchange.scope["method"] != "POST" or not visitor.new:
        return None
    visitor.cookies.clear()
    return redirect(visitor, visitor.path(page, **visitor.given))


def redirect(visitor: Visitor, location: str) -> Answer:
    """Send the browser elsewhere, with GET (RFC 9700 §4.12: 303 never repeats a form that held a password)."""
    headers = [
        (b"location", location.encode("ascii")),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        *visitor.cookies,
    ]
    return Answer(303, headers)
