"""The authorization endpoint and the decision: what is asked, of whom, and the answer that goes to the client.

Steps in the order of RFC 6749 §4.1.1: the request is read and judged (`authorization.request`), the person signs in,
decides, and the answer is made (`authorization.authorization_response`). Which step comes next, `interaction.next_step`
says; each page comes back here when it is done.
"""

from __future__ import annotations

from typing import Any, Final

from registrar.authorization import authorization_response, clients, consent, people, subject
from registrar.authorization import interaction as interactions
from registrar.authorization import request as requests
from registrar.authorization.authorization_response import FormPost, Redirect
from registrar.authorization.interaction import SILENT, Interaction, Step, Waiting
from registrar.authorization.request import AuthorizationRequest, RequestError
from registrar.domain.client import Assurance, Client, State
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor
from registrar.http.wire import Answer
from registrar.service.ports import Change, Conflict
from registrar.web import portrait as portraits
from registrar.web.portrait import Portrait
from registrar.web.visitor import Visitor, again, leads_to, redirect, refused, render


async def authorize(visitor: Visitor) -> Answer:
    """GET and POST /authorize (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1)."""
    if (elsewhere := again(visitor, "authorize")) is not None:
        return elsewhere
    try:
        request = await requests.judge(visitor.registry, visitor.issuer, visitor.given, visitor.now, visitor.address)
    except RequestError as refusal:
        return await _refused(visitor, refusal)
    interaction = Interaction(interactions.of_browser(visitor.browser), request)
    step = await _step(visitor, interaction, request)
    if step is Step.ALLOW:
        return await _allow(visitor, request)
    if "none" in request.prompt:
        return await _refuse(visitor, request, SILENT[step])
    waiting = await interactions.begin(visitor.registry, visitor.issuer, interaction)
    return _go_to(visitor, waiting, step)


async def _refused(visitor: Visitor, refusal: RequestError) -> Answer:
    """Tell of a request that cannot be: the client where that is safe, else the person.

    Who registered the redirect URI by themselves could have people sent anywhere from here, by a request that is wrong
    on purpose; so nobody is sent before they signed in, unless silence was asked for (RFC 9700 §4.11.2).
    """
    if refusal.returns is None:
        raise refusal
    response = await authorization_response.refuse(visitor.registry, visitor.issuer, refusal.returns, refusal)
    client = await clients.find(visitor.registry, visitor.issuer, refusal.returns.client_id)
    known = client is not None and client.admission.assurance is Assurance.OPERATOR
    if known or visitor.visit is not None or "none" in visitor.given.get("prompt", "").split():
        return answered(visitor, response)
    return refused(visitor, refusal, response)


async def proceed(visitor: Visitor, waiting: Waiting) -> Answer:
    """Go on with what a browser is in the middle of, to the next page or to the client."""
    request = waiting.interaction.request
    if request is None:
        await visitor.registry.store.change([interactions.over(waiting)])
        return redirect(visitor, visitor.path(waiting.interaction.page, user_code=waiting.interaction.user_code))
    step = await _step(visitor, waiting.interaction, request)
    if step is not Step.ALLOW:
        return _go_to(visitor, waiting, step)
    await _decided(visitor, waiting)
    return await _allow(visitor, request)


async def show(visitor: Visitor) -> Answer:
    """GET /consent: what is asked, by whom, and what is known of them."""
    waiting = await visitor.waiting()
    request = waiting.interaction.request
    if request is None or visitor.visit is None:
        return await proceed(visitor, waiting)
    if await _step(visitor, waiting.interaction, request) is not Step.CONSENT:
        return await proceed(visitor, waiting)
    client = await _client(visitor, request)
    before = await consent.find(visitor.registry, visitor.issuer, request.client_id, visitor.visit.person.subject)
    before = consent.fresh(before, client)
    return render(
        visitor,
        "consent.html",
        form_action=form_action(request),
        waiting=waiting,
        request=request,
        client=await show_client(visitor, client, request.redirect_uri, request.ui_locales),
        scopes=describe(visitor, request.scope),
        new=set(request.scope) - set(before.scope) if before else set(),
        claims=consent.claims_of(request),
        proves_itself=consent.proves_itself(client, request.redirect_uri),
        person=visitor.visit.person,
        proof=visitor.proof("consent", waiting.identifier, portraits.likeness(client)),
    )


async def submit(visitor: Visitor) -> Answer:
    """POST /consent: yes, no, or as somebody else."""
    waiting = await visitor.waiting()
    request = waiting.interaction.request
    if request is None or visitor.visit is None:
        return await show(visitor)
    client = await _client(visitor, request)
    if not visitor.proved("consent", waiting.identifier, portraits.likeness(client)):
        # The session changed, or the client that was shown did, or this is no form of ours: ask as things are now.
        return await show(visitor)
    # A page that was left open must not decide what would have to be asked again: a session too old, another person.
    step = await _step(visitor, waiting.interaction, request)
    if step not in (Step.CONSENT, Step.ALLOW):
        return _go_to(visitor, waiting, step)
    decision = visitor.given.get("decision")
    if decision == "other":
        return redirect(visitor, visitor.path("sign_in", i=waiting.identifier, other="1"))
    actor = Actor("person", "session", person=visitor.visit.person.subject, address=visitor.address)
    if decision != "allow":
        await _decided(visitor, waiting, "consent.refused", actor)
        return await _refuse(visitor, request, "declined")
    who = visitor.visit.person.subject
    before = await consent.find(visitor.registry, visitor.issuer, request.client_id, who)
    remembered = consent.given(visitor.issuer, request, client, who, before, visitor.now)
    await _decided(visitor, waiting, "consent.given", actor, remembered)
    return await _allow(visitor, request)


# --- the steps --------------------------------------------------------------------------------------------------------


async def _step(visitor: Visitor, interaction: Interaction, request: AuthorizationRequest) -> Step:
    client = await _client(visitor, request)
    visit = visitor.visit
    same_person, consented = True, False
    if visit is not None:
        who = visit.person.subject
        if request.hinted_subject is not None:
            theirs = await subject.for_client(visitor.registry, visitor.issuer, client, who)
            same_person = theirs == request.hinted_subject
        before = await consent.find(visitor.registry, visitor.issuer, request.client_id, who)
        consented = consent.covers(before, client, request) and not _asked_always(visitor, client)
    session = visit.session if visit else None
    return interactions.next_step(interaction, session, same_person=same_person, consented=consented, now=visitor.now)


def _asked_always(visitor: Visitor, client: Client) -> bool:
    """Whether people are asked about a client whatever they allowed it before."""
    of_document = client.admission.assurance is Assurance.DOCUMENT
    return of_document and visitor.issuer.settings.metadata_documents.ask_always


def _go_to(visitor: Visitor, waiting: Waiting, step: Step) -> Answer:
    page = "consent" if step is Step.CONSENT else "sign_in"
    return redirect(visitor, visitor.path(page, i=waiting.identifier))


async def _client(visitor: Visitor, request: AuthorizationRequest) -> Client:
    """The client, which may have ended since it asked, or may not ask so any more."""
    client = await clients.find(visitor.registry, visitor.issuer, request.client_id)
    if client is not None and client.state is State.PENDING:
        raise ProtocolError("access_denied", "This application waits for its operator's review.")
    if client is None or not client.in_reach:
        raise ProtocolError("access_denied", "This application has been suspended or removed.")
    requests.check_registered(visitor.issuer, client, request)
    return client


async def _decided(
    visitor: Visitor, waiting: Waiting, kind: str = "", actor: Actor | None = None, *more: Change
) -> None:
    """End the interaction, and tell what was decided; once."""
    request = waiting.interaction.request
    assert request is not None
    events = []
    if kind and actor:
        detail = {"scope": list(request.scope)}
        events = [
            visitor.registry.audit.event(
                kind, visitor.issuer.name, actor, endpoint="/consent", client_id=request.client_id, detail=detail
            )
        ]
    try:
        await visitor.registry.store.change([interactions.over(waiting), *more], events)
    except Conflict:
        raise ProtocolError("invalid_request", "This was decided already, in another tab perhaps.") from None


async def _allow(visitor: Visitor, request: AuthorizationRequest) -> Answer:
    assert visitor.visit is not None
    return answered(
        visitor,
        await authorization_response.allow(
            visitor.registry, visitor.issuer, request, visitor.visit.session.authentication, request.scope
        ),
    )


async def _refuse(visitor: Visitor, request: AuthorizationRequest, error: str) -> Answer:
    refused = ProtocolError(error)
    return answered(visitor, await authorization_response.refuse(visitor.registry, visitor.issuer, request, refused))


def answered(visitor: Visitor, response: Redirect | FormPost) -> Answer:
    """The answer to the client, by way of the browser."""
    if isinstance(response, Redirect):
        return redirect(visitor, response.location)
    return render(
        visitor,
        "form_post.html",
        form_action=leads_to(response.uri),
        more_policy=f"; script-src '{_SUBMIT_HASH}'",
        submit=_SUBMIT,
        uri=response.uri,
        fields=response.parameters,
    )


_SUBMIT: Final = "document.forms[0].submit()"
_SUBMIT_HASH: Final = "sha256-ePniVEkSivX/c7XWBGafqh8tSpiRrKiqYeqbG7N1TOE="


# --- what is shown ----------------------------------------------------------------------------------------------------


async def portrait_of(visitor: Visitor, request: AuthorizationRequest) -> Portrait:
    """The client of a request, as this person is shown it."""
    client = await _client(visitor, request)
    return await show_client(visitor, client, request.redirect_uri, request.ui_locales)


async def show_client(visitor: Visitor, client: Client, uri: str = "", ui_locales: tuple[str, ...] = ()) -> Portrait:
    """A client, as this person is shown it."""
    owner = ""
    if client.admission.assurance is Assurance.USER and client.admission.owner:
        person = await people.find(visitor.registry, visitor.issuer, client.admission.owner)
        owner = person.name if person else ""
    return portraits.portrait(
        client,
        visitor.languages(ui_locales),
        issuer=visitor.issuer.url,
        uri=uri,
        viewer=visitor.visit.person.subject if visitor.visit else "",
        owner=owner,
    )


SCOPES: Final = {
    "openid": "Know which account here is yours",
    "profile": "Read your name and profile",
    "email": "Read your e-mail address",
    "address": "Read your postal address",
    "phone": "Read your telephone number",
    "offline_access": "Keep its access while you are away, until you take it back",
    "dcr": "Register one application in your name",
}


def describe(visitor: Visitor, scope: tuple[str, ...]) -> list[dict[str, Any]]:
    """The scopes as a person reads them: what each lets the client do, where that is known."""
    own = visitor.issuer.settings.scopes.descriptions
    return [{"name": one, "meaning": own.get(one) or SCOPES.get(one, "")} for one in scope]


def form_action(request: AuthorizationRequest | None) -> str:
    """Where a form of a request's pages may lead."""
    return leads_to(request.redirect_uri if request else "")
