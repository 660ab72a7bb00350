"""Limits: how fast clients may be registered, by whom and in all (RFC 7591 §3).

An address is asked before the body is read, so that a flood costs little; what a request says of itself is asked once it
was judged. What nobody has verified is counted together with the address that it comes from: to claim somebody else's
software or host must never be a way to lock them out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from registrar.domain import terms
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor
from registrar.domain.metadata import Registered
from registrar.domain.rates import Rate, of_address, read
from registrar.domain.settings import Limits as Settings
from registrar.service.ports import StoreUnavailable
from registrar.service.registry import Issuer, Registry

TOLD: Final = Rate(60, 60, "60/minute")
"""Early warnings of an issuer that are recorded; a flood from many addresses must not fill the audit."""
_HOURLY: Final = Rate(1, 3_600, "1/hour")
_NAMES: Final = {
    "address": "registrations from this address",
    "shared": "registrations from this network",
    "initial_token": "registrations with this token",
    "software_id": "registrations of this software",
    "redirect_host": "registrations with this redirect host",
    "total": "registrations",
    "requests": "requests from this address",
    "bad_token": "bad tokens from this address",
    "document": "unknown client documents named by this address",
    "document_host": "unknown client documents of this host",
}

log = logging.getLogger("registrar")


async def arrives(registry: Registry, issuer: Issuer, address: str, *, token: bool) -> None:
    """Take the share of an address, before anything of a request is read.

    Who presents a token is held to the token's own rate, so that many who share an address do not wait for one another;
    but not where as many bad tokens have come from that very address as its rate allows.

    Raises:
        ProtocolError: `too_many_registrations`.
    """
    settings = issuer.settings.limits
    if token:
        now, who = registry.clock() // 1000, _single(settings, address)
        for rate in read_once(settings.address) if who else ():
            key = _key(issuer.name, "bad_token", who, rate)
            if await registry.windows.look(key, now) >= rate.amount:
                raise _refusal("bad_token", rate, await registry.windows.left(key, now))
        return
    who, shared = of_address(address, settings.ipv6_prefix, settings.shared_addresses)
    if who:
        name = "shared" if shared else "address"
        await _take(registry, issuer, name, who, getattr(settings, name))


async def bad_token(registry: Registry, issuer: Issuer, address: str) -> None:
    """Count a token that was presented and is none."""
    settings = issuer.settings.limits
    now, who = registry.clock() // 1000, _single(settings, address)
    for rate in read_once(settings.address) if who else ():
        await registry.windows.hit(_key(issuer.name, "bad_token", who, rate), rate.seconds, now)


def _single(settings: Settings, address: str) -> str:
    """Who an address counts as by itself: in a network that many share, one must not use up the share of another."""
    return of_address(address, settings.ipv6_prefix)[0]


async def asks(registry: Registry, issuer: Issuer, address: str) -> None:
    """Take the share of an address that asks for something to be stored before anybody has signed in.

    Raises:
        ProtocolError: `too_many_registrations`.
    """
    settings = issuer.settings.limits
    if who := _single(settings, address):
        await _take(registry, issuer, "requests", who, settings.requests)


async def names_document(registry: Registry, issuer: Issuer, address: str, host: str) -> None:
    """Take the shares of an address that has a document fetched which nobody has named before, and of its host.

    The host's is one for everybody, since it is the host that must not be asked too often; what is known already takes
    none of it, so that nobody can lock its people out.

    Raises:
        ProtocolError: `too_many_registrations`.
    """
    settings = issuer.settings.metadata_documents
    if who := _single(issuer.settings.limits, address):
        await _take(registry, issuer, "document", who, settings.address)
    await _take(registry, issuer, "document_host", host, settings.host)


async def registers(
    registry: Registry,
    issuer: Issuer,
    metadata: Registered,
    provenance: Mapping[str, str],
    token_id: str,
    address: str,
) -> None:
    """Take the shares of what is about to be registered.

    Args:
        registry: what every use case is given.
        issuer: where.
        metadata: what it is to be registered with.
        provenance: member -> where its value comes from.
        token_id: the initial access token that it came with; empty where it came with none.
        address: where it came from.

    Raises:
        ProtocolError: `too_many_registrations`.
    """
    settings = issuer.settings.limits
    if not (settings.initial_token or settings.software_id or settings.redirect_host or settings.total):
        return
    for name, who in _shares(settings, metadata, provenance, token_id, address):
        await _take(registry, issuer, name, who, getattr(settings, name))


def _shares(
    settings: Settings, metadata: Registered, provenance: Mapping[str, str], token_id: str, address: str
) -> Iterator[tuple[str, str]]:
    """The rates that a client counts for, and as whom; the total last, so that who is refused before takes none of it."""
    if settings.initial_token and token_id:
        yield "initial_token", token_id
    if settings.software_id and (software := metadata.get("software_id")):
        yield "software_id", _claimed(settings, provenance, "software_id", software, address)
    if settings.redirect_host:
        for host in terms.hosts(metadata.get("redirect_uris", ())):
            yield "redirect_host", _claimed(settings, provenance, "redirect_uris", host, address)
    if settings.total:
        yield "total", ""


def _claimed(settings: Settings, provenance: Mapping[str, str], member: str, value: str, address: str) -> str:
    """Who a claim counts as: itself where it was attested, else together with who makes it."""
    if provenance.get(member, "").startswith("attested:"):
        return value
    return f"{value} {_single(settings, address)}"


async def _take(registry: Registry, issuer: Issuer, name: str, who: str, text: str) -> None:
    now = registry.clock() // 1000
    for rate, prefix, told in _prepared(issuer.name, name, text, issuer.settings.limits.near):
        key = prefix + who
        number = await registry.windows.hit(key, rate.seconds, now)
        if number > rate.amount:
            raise _refusal(name, rate, await registry.windows.left(key, now))
        if number == told:
            await warn(registry, issuer, name, rate.text)


@lru_cache(1024)
def _prepared(issuer: str, name: str, text: str, percent: int) -> tuple[tuple[Rate, str, int], ...]:
    """The rates of a text, how the keys of each begin, and from which number on it is nearly used up."""
    return tuple((rate, _key(issuer, name, "", rate), near(rate.amount, percent)) for rate in read_once(text))


def near(amount: int, percent: int) -> int:
    """From which number on a limit is nearly used up; 0 where nobody is to be told."""
    return -(-amount * percent // 100)


async def warn(registry: Registry, issuer: Issuer, name: str, text: str) -> None:
    """Record that a limit is nearly used up, beside the request: nobody waits for it."""
    now = registry.clock() // 1000
    if await registry.windows.hit(_key(issuer.name, "near", "", TOLD), TOLD.seconds, now) > TOLD.amount:
        return
    detail = {"limit": name, "reason": f"{issuer.settings.limits.near} % of {text} are used"}
    event = registry.audit.event("limit.near", issuer.name, Actor("registrar", "none"), detail=detail)

    async def record() -> None:
        try:
            await registry.store.record(event)
        except StoreUnavailable as problem:
            log.warning("%s: %s of %s, which could not be recorded: %s", issuer.name, detail["reason"], name, problem)

    registry.errands.start(record(), "an early warning")


async def warn_hourly(registry: Registry, issuer: Issuer, name: str, text: str) -> None:
    """The same where nobody can tell who was the first to see it: once an hour, as long as it is so."""
    if (
        await registry.windows.hit(
            _key(issuer.name, "nearly", name, _HOURLY), _HOURLY.seconds, registry.clock() // 1000
        )
        == 1
    ):
        await warn(registry, issuer, name, text)


def _key(issuer: str, name: str, who: str, rate: Rate) -> str:
    return f"{issuer} {name} {rate.amount}/{rate.seconds} {who}"


def _refusal(name: str, rate: Rate, seconds: int) -> ProtocolError:
    return ProtocolError(
        "too_many_registrations",
        f"The limit of {rate.text} for {_NAMES[name]} is used up; the next one is looked at in {seconds} seconds.",
        headers=[(b"retry-after", str(seconds).encode())],
    )


@lru_cache(1024)
def read_once(text: str) -> tuple[Rate, ...]:
    """The rates of a text of the configuration, of which there are few."""
    return read(text)
