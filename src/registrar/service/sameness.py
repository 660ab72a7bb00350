"""Registrations that say the same: a public client that was registered before is answered with what it has.

Agents register whenever they connect. Under a policy with `repeat = "same"`, what says the same, under the same policy and
by the same admission, is the same client, and there is one record where there would have been thousands. Such clients have
no registration access token from the first answer on: whoever sends the same gets the same, and must not get a key with it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from registrar.domain import redirect_uri
from registrar.domain import uri as grammar
from registrar.domain.client import Client, State, information
from registrar.domain.metadata import Registered
from registrar.policy import Judge
from registrar.policy.policy import Repeat
from registrar.service.admission import Admitted
from registrar.service.ports import Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "same"
"""Items that say which client says a thing; they go when the client does."""

_encode: Final = msgspec.json.Encoder(order="sorted").encode


def key(judge: Judge, admitted: Admitted, metadata: Registered) -> str:
    """What two registrations have in common that are one client; empty where there can be no such thing.

    That is what the policy says, by whose leave it came in, and everything that is registered, but for the ports of loopback
    addresses, which are chosen at run time (RFC 8252 §7.3). A client with credentials is never another one.
    """
    if judge.policy.repeat is not Repeat.SAME or metadata.get("token_endpoint_auth_method") != "none":
        return ""
    if "jwks" in metadata or "jwks_uri" in metadata:
        return ""
    uris = sorted({_without_port(one) for one in metadata.get("redirect_uris", ())})
    admission = admitted.admission
    whose = (admission.assurance.value, admission.token_id, admission.owner, admission.client_class)
    return hashlib.sha256(_encode((judge.terms, whose, {**metadata, "redirect_uris": uris}))).hexdigest()


def _without_port(uri: str) -> str:
    scheme, host, port = grammar.origin_of(uri)
    if scheme != "http" or host not in redirect_uri.LOOPBACK_HOSTS or port is None:
        return uri
    parts = grammar.split(uri)
    return f"http://{host}{parts.path if parts else ''}{f'?{parts.query}' if parts and parts.query else ''}"


def put(client: Client, same: str, now: int) -> Put:
    """The change that says whose it is; of two at once, one is first."""
    item = Item(
        client.issuer, KIND, same, client.client_id.encode(), client_id=client.client_id, expires_at=client.expires_at
    )
    return Put(item, 0, now)


async def held(
    registry: Registry, issuer: Issuer, same: str, judge: Judge, admitted: Admitted
) -> tuple[Item | None, Client | None]:
    """The client that says this already, if it may do anything or waits for review; and the item that names it.

    One that was changed since, by its operator, says something else by now, and whoever asks must not be told otherwise.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, same)
    if item is None or not item.lives(registry.clock() // 1000):
        return item, None
    client = await registry.store.find(issuer.name, item.body.decode())
    if client is None or client.expired(registry.clock() // 1000):
        return item, None
    works_or_waits = client.usable or client.state is State.PENDING
    within = admitted.labels.items() <= client.labels.items()  # an operator may have given it to another tenant since
    return item, client if works_or_waits and within and key(judge, admitted, client.metadata) == same else None


def answer(client: Client, metadata: Registered) -> dict[str, Any]:
    """What the client has, with the addresses that this caller sent: they differ in their ports at the most."""
    said = {name: metadata[name] for name in ("redirect_uris",) if name in metadata}
    return information(client) | said
