"""/device: letting in a device that has no browser (RFC 8628 §3.3). A person types what it shows, and decides."""

from __future__ import annotations

from typing import Final

from registrar.authorization import device
from registrar.authorization.device import DeviceRequest
from registrar.domain.client import Client
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor
from registrar.http.wire import Answer
from registrar.service.attempts import network
from registrar.web import deciding, signing_in
from registrar.web.portrait import likeness
from registrar.web.visitor import Visitor, render


async def show(visitor: Visitor) -> Answer:
    """GET /device: the field for the code, or the question about the device that showed it."""
    user_code = visitor.given.get("user_code", "")
    if visitor.visit is None:
        return await signing_in.want(visitor, "device", user_code)
    if not user_code:
        return _field(visitor)
    found = await _found(visitor, user_code)
    if found is None:
        return _field(
            visitor, "No device is waiting with this code. Look at it once more, or have the device show a new one."
        )
    client, request = found
    return render(
        visitor,
        "device.html",
        client=await deciding.show_client(visitor, client),
        request=request,
        scopes=deciding.describe(visitor, request.scope),
        person=visitor.visit.person,
        proof=visitor.proof("device", request.user_code, likeness(client)),
    )


async def submit(visitor: Visitor) -> Answer:
    """POST /device: yes or no."""
    user_code = visitor.given.get("user_code", "")
    if visitor.visit is None:
        return await show(visitor)
    found = await _found(visitor, user_code)
    if found is None:
        raise ProtocolError("invalid_request", _OVER)
    client, request = found
    if not visitor.proved("device", user_code, likeness(client)):
        return await show(visitor)  # the session changed, or the client that was shown did: ask as things are now
    allowed = visitor.given.get("decision") == "allow"
    authentication = visitor.visit.session.authentication if allowed else None
    actor = Actor("person", "session", person=visitor.visit.person.subject, address=visitor.address)
    kind, detail = ("consent.given" if allowed else "consent.refused"), {"scope": list(request.scope)}
    event = visitor.registry.audit.event(
        kind, visitor.issuer.name, actor, endpoint="/device", client_id=client.client_id, detail=detail
    )
    if not await device.decide(visitor.registry, visitor.issuer, user_code, authentication, event=event):
        raise ProtocolError("invalid_request", _OVER)
    return render(visitor, "device_done.html", client=await deciding.show_client(visitor, client), allowed=allowed)


_OVER: Final = "The device waits no more, or this was decided already."


def _field(visitor: Visitor, problem: str = "") -> Answer:
    return render(visitor, "user_code.html", status=404 if problem else 200, problem=problem)


async def _found(visitor: Visitor, user_code: str) -> tuple[Client, DeviceRequest] | None:
    """What a code stands for; wrong ones are counted, because they are short (RFC 8628 §5.1)."""
    assert visitor.visit is not None
    attempts, now = visitor.registry.attempts, visitor.now
    counted = [("user_code", visitor.issuer.name, who) for who in _who(visitor)]
    if wait := await attempts.took(counted, now):
        raise ProtocolError("too_many_attempts", headers=[(b"retry-after", str(wait).encode())])
    found = await device.find(visitor.registry, visitor.issuer, user_code)
    if found is not None:
        for who in counted:
            await attempts.succeeded(who, now)
    return found


def _who(visitor: Visitor) -> tuple[str, str]:
    assert visitor.visit is not None
    return visitor.visit.person.subject, network(visitor.address)
