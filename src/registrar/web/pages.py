"""The pages of an issuer: one table of paths, methods and what answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from registrar.domain.server_metadata import ENDPOINTS, PAGES
from registrar.http.endpoints import Endpoint, Exchange
from registrar.http.wire import Answer
from registrar.web import account, deciding, devices, leaving, logo, signing_in
from registrar.web.visitor import page, style


async def show_style(_exchange: Exchange) -> Answer:
    """GET /style.css; its address changes with its content."""
    headers = [
        (b"content-type", b"text/css; charset=utf-8"),
        (b"cache-control", b"public, max-age=31536000, immutable"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return Answer(200, headers, style())


def _page(show: Endpoint, submit: Endpoint | None = None) -> Mapping[str, Endpoint]:
    methods = {"GET": show, "HEAD": show}
    return {**methods, "POST": submit} if submit else methods


ROUTES: Final[Mapping[str, Mapping[str, Endpoint]]] = {
    ENDPOINTS["authorization_endpoint"]: _page(page(deciding.authorize), page(deciding.authorize)),
    PAGES["sign_in"]: _page(page(signing_in.show), page(signing_in.submit)),
    PAGES["sign_up"]: _page(page(signing_in.show_sign_up), page(signing_in.sign_up)),
    PAGES["upstream"]: _page(page(signing_in.leave)),
    PAGES["callback"]: _page(page(signing_in.arrive)),
    PAGES["consent"]: _page(page(deciding.show), page(deciding.submit)),
    PAGES["account"]: _page(page(account.show), page(account.submit)),
    PAGES["device"]: _page(page(devices.show), page(devices.submit)),
    PAGES["end_session"]: _page(page(leaving.show), page(leaving.show)),
    PAGES["style"]: _page(show_style),
    PAGES["logo"]: _page(logo.show),
}
"""Path under the issuer's URL -> method -> endpoint."""
