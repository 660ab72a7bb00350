"""Routes of clients: found, made, changed and ended."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final

import msgspec
from msgspec.structs import asdict

from registrar.domain.client import Client, ClientInformation, ShownClient
from registrar.domain.errors import BearerError, ProtocolError
from registrar.domain.metadata import Presented
from registrar.http import answers, wire
from registrar.http.admin.bodies import LATEST, Reason, Why, not_taken, read, sayable
from registrar.http.admin.call import Call, Row
from registrar.http.admin.pages import PAGED, limit_of
from registrar.http.answers import Created, Jwt, Tagged
from registrar.service import administration, client_administration, inventory, labels, operators, receipts
from registrar.service.administration import ReissuedToken
from registrar.service.inventory import Filters, Statistics
from registrar.service.operators import Refused

_FILTERS: Final = tuple(
    "label" if field.name == "labels" else field.encode_name for field in msgspec.structs.fields(Filters)
)


class Metadata(msgspec.Struct):
    """Client metadata, as a registration has it."""


class LabelsWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The labels that are set; an empty value takes one away."""

    labels: dict[str, str]
    """Label -> value."""


class RotationWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a secret is replaced."""

    overlap: Annotated[int, msgspec.Meta(ge=0, le=operators.LARGEST)] | None = None
    """Seconds for which the old one still works; the issuer's setting by default."""
    reason: Why = ""
    """Why; it goes into the audit."""


def _filters(call: Call) -> Filters:
    """The filters of a query, within the labels of the token.

    Raises:
        BearerError: `insufficient_scope`; they ask for labels that are not within.
        ProtocolError: `invalid_request`, saying what is wrong.
    """
    asked: dict[str, Any] = {
        name: value for name, value in call.query.items() if name not in ("limit", "after", "order")
    }
    try:
        labelled = labels.parsed(tuple(asked.pop("label", "").split()))
        found = msgspec.convert(asked, Filters, strict=False)
    except msgspec.ValidationError as problem:
        raise not_taken(problem, Filters) from None
    except Refused as problem:
        raise ProtocolError("invalid_request", sayable(problem)) from None
    times = (found.created_from, found.created_before, found.unused_since, found.expires_before, found.keys_before)
    if not all(0 <= time <= LATEST for time in times):
        raise ProtocolError("invalid_request", f"Times are seconds from 0 to {LATEST}.")
    return msgspec.structs.replace(found, labels=call.labels_within(labelled))


async def _list_clients(call: Call) -> answers.Clients:
    limit = limit_of(call)
    if (order := call.query.get("order", "oldest")) not in ("oldest", "newest"):
        raise ProtocolError("invalid_request", "The order is oldest or newest, whichever comes first.")
    after, newest = call.query.get("after", ""), order == "newest"
    found = await inventory.page(call.registry, call.issuer, _filters(call), after=after, limit=limit, newest=newest)
    return answers.Clients(clients=[one.public() for one in found.clients], after=found.after)


async def _count_clients(call: Call) -> Statistics:
    return await inventory.statistics(call.registry, call.issuer, _filters(call))


async def _label_client(call: Call) -> ShownClient:
    asked = read(call, LabelsWanted)
    if not call.token.within.items() <= {**call.token.within, **asked.labels}.items():
        raise BearerError("insufficient_scope", "This token moves no client out of its labels.")
    return (await labels.label(*call.acting, call.name, asked.labels)).public()


async def _create_client(call: Call) -> Created[ClientInformation]:
    token, wanted = call.token, Presented(call.body)
    made = await client_administration.create(
        *call.acting,
        wanted,
        policy=token.policy,
        label=token.label,
        ceiling=token.ceiling,
        bound=token.bound,
        labelled={**token.labels, **token.within},
    )
    return Created(made)


def _tag(client: Client) -> str:
    """The entity tag of what is shown of a client (RFC 9110 §8.8.3): its template may change that without its version."""
    return f'"{hashlib.sha256(wire.answer(200, client.public()).body).hexdigest()[:32]}"'


async def _show_client(call: Call) -> Tagged[ShownClient]:
    found = await administration.find(call.registry, call.issuer, call.name)
    return Tagged(found.public(), _tag(found))


async def _change_client(call: Call) -> Tagged[answers.ChangedClient]:
    seen = call.seen

    def matches(client: Client) -> bool:
        return seen is None or "*" in seen or _tag(client) in seen

    changed, secret = await client_administration.change(*call.acting, call.name, Presented(call.body), matches)
    return Tagged(answers.ChangedClient(**asdict(changed.public()), client_secret=secret), _tag(changed))


async def _show_receipt(call: Call) -> Jwt:
    client = await administration.find(call.registry, call.issuer, call.name)
    return Jwt(await receipts.issue(call.registry, call.issuer, client))


async def _suspend_client(call: Call) -> ShownClient:
    reason = read(call, Reason).reason
    return (await administration.suspend(*call.acting, call.name, reason)).public()


async def _resume_client(call: Call) -> ShownClient:
    reason = read(call, Reason).reason
    return (await administration.resume(*call.acting, call.name, reason)).public()


async def _rotate_secret(call: Call) -> answers.RotatedSecret:
    asked = read(call, RotationWanted)
    secret, changed = await administration.rotate_secret(
        *call.acting, call.name, overlap=asked.overlap, reason=asked.reason
    )
    current, *old = changed.credentials.secrets
    return answers.RotatedSecret(
        client_id=call.name,
        client_secret=secret,
        client_secret_expires_at=current.expires_at,
        old_secret_works_until=old[0].until if old else msgspec.UNSET,
    )


async def _reissue_token(call: Call) -> ReissuedToken:
    token, secret, changed = await administration.reissue_token(*call.acting, call.name, read(call, Reason).reason)
    return administration.reissued(call.issuer, changed, token, secret)


async def _delete_client(call: Call) -> None:
    await administration.delete(*call.acting, call.name, read(call, Reason).reason)


ROUTES: Final = (
    Row("GET", "clients", "admin.clients", _list_clients, confined=True, asks=(*_FILTERS, "order", *PAGED)),
    Row("POST", "clients", "admin.clients", _create_client, takes=Metadata, confined=True),
    Row("GET", "statistics", "admin.clients", _count_clients, confined=True, asks=_FILTERS),
    Row("POST", "clients/{}/labels", "admin.clients", _label_client, takes=LabelsWanted, confined=True, of_client=True),
    Row("GET", "clients/{}", "admin.clients", _show_client, confined=True, of_client=True),
    Row(
        "PUT",
        "clients/{}",
        "admin.clients",
        _change_client,
        takes=Metadata,
        confined=True,
        of_client=True,
        conditional=True,
    ),
    Row("DELETE", "clients/{}", "admin.clients", _delete_client, takes=Reason, confined=True, of_client=True),
    Row("GET", "clients/{}/receipt", "admin.clients", _show_receipt, confined=True, of_client=True),
    Row("POST", "clients/{}/suspend", "admin.clients", _suspend_client, takes=Reason, confined=True, of_client=True),
    Row("POST", "clients/{}/resume", "admin.clients", _resume_client, takes=Reason, confined=True, of_client=True),
    Row(
        "POST",
        "clients/{}/rotate-secret",
        "admin.clients",
        _rotate_secret,
        takes=RotationWanted,
        confined=True,
        of_client=True,
    ),
    Row(
        "POST", "clients/{}/reissue-token", "admin.clients", _reissue_token, takes=Reason, confined=True, of_client=True
    ),
)
