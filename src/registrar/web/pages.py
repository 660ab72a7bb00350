"""The pages of an issuer: one table of paths, methods and what answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from registrar.domain.server_metadata import ENDPOINTS, PAGES
from registrar.http.endpoints import Endpoint, Exchange
from registrar.http.wire import Answer
from registrar.web import account, deciding, devices, leaving, logo, signing_in
from registrar.web.visitor import Page, page, style


async def show_style(_exchange: Exchange) -> Answer:
    """GET /style.css; its address changes with its content."""
    headers = [
        (b"content-type", b"text/css; charset=utf-8"),
        (b"cache-control", b"public, max-age=31536000, immutable"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return Answer(200, headers, style())


def _page(show: Page, submit: Page | None = None) -> Mapping[str, Endpoint]:
    """The methods of a page. HEAD is none of them: to look at a page begins something, a sign-in for instance."""
    methods = {"GET": page(show)}
    return {**methods, "POST": page(submit)} if submit else methods


def _file(show: Endpoint) -> Mapping[str, Endpoint]:
    return {"GET": show, "HEAD": show}


ROUTES: Final[Mapping[str, Mapping[str, Endpoint]]] = {
    ENDPOINTS["authorization_endpoint"]: _page(deciding.authorize, deciding.authorize),
    PAGES["sign_in"]: _page(signing_in.show, signing_in.submit),
    PAGES["sign_up"]: _page(signing_in.show_sign_up, signing_in.sign_up),
    PAGES["upstream"]: _page(signing_in.leave),
    PAGES["callback"]: _page(signing_in.arrive),
    PAGES["consent"]: _page(deciding.show, deciding.submit),
    PAGES["account"]: _page(account.show, account.submit),
    PAGES["device"]: _page(devices.show, devices.submit),
    PAGES["end_session"]: _page(leaving.show, leaving.show),
    PAGES["style"]: _file(show_style),
    PAGES["logo"]: _file(logo.show),
}
"""Path under the issuer's URL -> method -> endpoint."""
