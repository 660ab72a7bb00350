"""Signing in: with a name and a password, by way of the upstream provider, or with an account made on the spot."""

from __future__ import annotations

from typing import Any, Final

from registrar.authorization import interaction as interactions
from registrar.authorization import people, upstream
from registrar.authorization.interaction import Interaction, Waiting
from registrar.authorization.people import Unacceptable, Unrecognised
from registrar.authorization.upstream import Unusable
from registrar.domain.errors import ProtocolError
from registrar.http.wire import Answer
from registrar.service.attempts import network
from registrar.web import deciding
from registrar.web.visitor import Visitor, redirect, render


async def want(visitor: Visitor, page: str, user_code: str = "") -> Answer:
    """Have somebody sign in who came to a page that needs it, and bring them back there."""
    interaction = Interaction(interactions.of_browser(visitor.browser), page=page, user_code=user_code)
    begun = await interactions.begin(visitor.registry, visitor.issuer, interaction)
    return redirect(visitor, visitor.path("sign_in", i=begun.identifier))


async def show(visitor: Visitor) -> Answer:
    """GET /sign-in: the form, or whose session it is and whether to go on with it."""
    return await _form(visitor, await visitor.waiting())


async def _form(visitor: Visitor, waiting: Waiting, problem: str = "", status: int = 200) -> Answer:
    request = waiting.interaction.request
    settings = visitor.issuer.settings
    shown = await deciding.portrait_of(visitor, request) if request else None
    choosing = (
        visitor.visit is not None
        and request is not None
        and "select_account" in request.prompt
        and not visitor.given.get("other")
        and not problem
    )
    return render(
        visitor,
        "sign_in.html",
        status=status,
        form_action=deciding.form_action(request),
        waiting=waiting,
        client=shown,
        choosing=choosing,
        local=settings.people.local,
        sign_up=settings.people.local and settings.people.sign_up,
        upstream=upstream.name(visitor.issuer) if settings.upstream.issuer else "",
        username=visitor.given.get("username") or (request.login_hint if request else None) or "",
        problem=problem,
        proof=visitor.proof("sign-in", waiting.identifier),
    )


async def submit(visitor: Visitor) -> Answer:
    """POST /sign-in: a name and a password, or the choice to go on as who is signed in."""
    waiting = await visitor.waiting()
    if not visitor.proved("sign-in", waiting.identifier):
        return await _form(visitor, waiting, _STALE, 403)
    if visitor.given.get("choice") == "continue" and visitor.visit is not None:
        waiting = await interactions.changed(visitor.registry, waiting, chosen=True)
        return await deciding.proceed(visitor, waiting)
    if not visitor.issuer.settings.people.local:
        raise ProtocolError("access_denied", "Nobody signs in with a password here.")
    username, password = visitor.given.get("username", ""), visitor.given.get("password", "")
    try:
        person = await people.authenticate(visitor.registry, visitor.issuer, username, password, visitor.address)
    except Unrecognised:
        return await _form(visitor, waiting, "The name or the password is not right.", 401)
    except ProtocolError as error:
        if error.kind.name != "too_many_attempts":
            raise
        answer = await _form(visitor, waiting, f"That was wrong too often. Try again in {_wait(error)} seconds.", 429)
        return Answer(answer.status, [*answer.headers, *error.headers], answer.body)
    await visitor.sign_in(person, amr=("pwd",))
    return await _signed_in(visitor, waiting)


_STALE: Final = "This page was out of date. Please try once more."


def _wait(error: ProtocolError) -> str:
    return next((value.decode() for name, value in error.headers if name == b"retry-after"), "some")


async def _signed_in(visitor: Visitor, waiting: Waiting) -> Answer:
    waiting = await interactions.changed(visitor.registry, waiting, signed_in=True, chosen=True)
    return await deciding.proceed(visitor, waiting)


# --- an account of one's own ------------------------------------------------------------------------------------------


async def show_sign_up(visitor: Visitor) -> Answer:
    """GET /sign-up: the form."""
    return _sign_up_form(visitor, await visitor.waiting())


def _sign_up_form(visitor: Visitor, waiting: Waiting, problem: str = "", status: int = 200) -> Answer:
    settings = visitor.issuer.settings.people
    if not settings.local or not settings.sign_up:
        raise ProtocolError("access_denied", "Accounts are made by the operator here.")
    return render(
        visitor,
        "sign_up.html",
        status=status,
        form_action=deciding.form_action(waiting.interaction.request),
        waiting=waiting,
        least=settings.password_characters,
        given=visitor.given,
        problem=problem,
        proof=visitor.proof("sign-up", waiting.identifier),
    )


async def sign_up(visitor: Visitor) -> Answer:
    """POST /sign-up: make the account and sign its owner in."""
    waiting = await visitor.waiting()
    if not visitor.proved("sign-up", waiting.identifier):
        return _sign_up_form(visitor, waiting, _STALE, 403)
    _sign_up_form(visitor, waiting)  # refuses where accounts are not made here
    given = visitor.given
    claims: dict[str, Any] = {"name": given["name"][:200]} if given.get("name") else {}
    if email := given.get("email"):
        if len(email) > _EMAIL or not people.is_email(email):
            return _sign_up_form(visitor, waiting, "That is no e-mail address.", 400)
        claims |= {"email": email, "email_verified": False}
    who = ("sign_up", visitor.issuer.name, network(visitor.address))
    # An account each time is what a program would make.
    if wait := await visitor.registry.attempts.took([who], visitor.now):
        return _sign_up_form(visitor, waiting, f"Too many accounts at once. Try again in {wait} seconds.", 429)
    try:
        person = await people.add(
            visitor.registry, visitor.issuer, given.get("username", ""), given.get("password", ""), claims=claims
        )
    except Unacceptable as problem:
        return _sign_up_form(visitor, waiting, str(problem), 400)
    await visitor.sign_in(person, amr=("pwd",))
    return await _signed_in(visitor, waiting)


_EMAIL: Final = 254


# --- by way of the upstream provider -----------------------------------------------------------------------------------


async def leave(visitor: Visitor) -> Answer:
    """GET /sign-in/upstream: off to the provider."""
    waiting = await visitor.waiting()
    _check_upstream(visitor)
    try:
        provider = await upstream.discover(visitor.registry, visitor.issuer)
    except Unusable as problem:
        return await _failed(visitor, waiting, problem)
    return redirect(
        visitor,
        upstream.authorization_url(visitor.issuer, provider, visitor.browser, waiting.identifier, waiting.interaction),
    )


async def arrive(visitor: Visitor) -> Answer:
    """GET /sign-in/upstream/callback: back from it."""
    _check_upstream(visitor)
    identifier = upstream.interaction_of(visitor.given.get("state", ""), visitor.browser)
    visitor.given["i"] = identifier
    waiting = await visitor.waiting()
    try:
        told = await upstream.complete(
            visitor.registry, visitor.issuer, visitor.browser, identifier, visitor.given, waiting.interaction
        )
        provider = visitor.issuer.settings.upstream.issuer
        person = await people.from_upstream(visitor.registry, visitor.issuer, provider, told.claims)
    except Unusable as problem:
        return await _failed(visitor, waiting, problem)
    except Unrecognised:
        raise ProtocolError("access_denied", "This account is disabled here.") from None
    await visitor.sign_in(person, amr=told.amr, acr=told.acr, auth_time=told.auth_time)
    return await _signed_in(visitor, waiting)


async def _failed(visitor: Visitor, waiting: Waiting, problem: Unusable) -> Answer:
    said = f"{upstream.name(visitor.issuer)} did not sign you in: {problem}."
    visitor.given = type(visitor.given)({"i": waiting.identifier})
    return await _form(visitor, waiting, said, 502)


def _check_upstream(visitor: Visitor) -> None:
    if not visitor.issuer.settings.upstream.issuer:
        raise ProtocolError("not_found")
