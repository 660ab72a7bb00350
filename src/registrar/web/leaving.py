"""/end_session: signing out, here and wherever this session was used (RP-Initiated Logout §2)."""

from __future__ import annotations

from registrar.authorization import logout
from registrar.authorization.logout import Request
from registrar.http.wire import Answer
from registrar.web import deciding
from registrar.web.visitor import Visitor, again, leads_to, redirect, render

_PARAMETERS = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales", "logout_hint")


async def show(visitor: Visitor) -> Answer:
    """GET and POST /end_session: ask, unless the request proves that it is about this very session."""
    if (elsewhere := again(visitor, "end_session")) is not None:
        return elsewhere
    request = await logout.judge(visitor.registry, visitor.issuer, visitor.given)
    confirmed = "confirmed" in visitor.given and visitor.proved("end_session")
    if not confirmed and await logout.needs_confirmation(visitor.registry, visitor.issuer, request, visitor.visit):
        return await _ask(visitor, request)
    return await signed_out(visitor, request.destination)


async def _ask(visitor: Visitor, request: Request) -> Answer:
    client = request.client
    return render(
        visitor,
        "sign_out.html",
        form_action=leads_to(request.destination),
        client=await deciding.show_client(visitor, client, "", request.ui_locales) if client else None,
        given={name: visitor.given[name] for name in _PARAMETERS if name in visitor.given},
        proof=visitor.proof("end_session"),
    )


async def signed_out(visitor: Visitor, destination: str = "") -> Answer:
    """End the session; the page tells those clients that want to hear of it in a frame (Front-Channel Logout §3)."""
    frames = await visitor.sign_out()
    if destination and not frames:
        return redirect(visitor, destination)
    return render(
        visitor,
        "signed_out.html",
        frames=frames,
        more_policy=f"; frame-src {' '.join(logout.origins(frames))}" if frames else "",
        destination=destination,
    )
