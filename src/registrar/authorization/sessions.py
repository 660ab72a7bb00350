"""Sessions: that a person signed in with this browser, when and how. A new identifier at every sign-in.

A browser has two random values in cookies. One is the session's, and changes whenever somebody signs in, so that an
identifier that was planted before is worth nothing after. The other stays, and ties what a browser began (a request
that waits for a decision, a sign-in at the upstream provider, a form) to that browser.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from registrar.authorization import people
from registrar.authorization.people import Person
from registrar.authorization.request import Authentication
from registrar.domain import credentials
from registrar.domain.events import Actor
from registrar.service.ports import Change, Conflict, Drop, Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "session"
"""What sessions are called among the items of a store; the key is the digest of the cookie's value."""

_COARSE: Final = 60
"""Seconds in which one visit at the most is written down."""


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a browser's cookie stands for."""

    session_id: str
    """The `sid` of ID tokens: says nothing of the cookie."""
    subject: str
    auth_time: int
    amr: tuple[str, ...] = ()
    acr: str = ""
    seen_at: int = 0

    @property
    def authentication(self) -> Authentication:
        """What the session proves."""
        return Authentication(self.subject, self.auth_time, self.session_id, self.acr, self.amr)


class Visit(msgspec.Struct, frozen=True):
    """A session that lives, and whose it is."""

    session: Session
    person: Person
    item: Item


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Session).decode


async def begin(
    registry: Registry,
    issuer: Issuer,
    person: Person,
    *,
    amr: tuple[str, ...],
    acr: str = "",
    auth_time: int = 0,
    replaces: str = "",
    address: str = "",
) -> tuple[str, Visit]:
    """Begin a session for a person who has just shown who they are.

    Args:
        registry: what every use case is given.
        issuer: where they signed in.
        person: who they are.
        amr: how they showed it (RFC 8176).
        acr: the authentication context, where an upstream provider told one.
        auth_time: when they did, where that was at an upstream provider before now.
        replaces: the value of the cookie that the browser had; that session ends.
        address: where the request came from, for the audit.

    Returns:
        The value of the cookie, and the session.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    now = registry.clock() // 1000
    value = credentials.token(registry.entropy(credentials.TOKEN_BYTES))
    session = Session(
        session_id=registry.entropy(16).hex(),
        subject=person.subject,
        auth_time=auth_time or now,
        amr=amr,
        acr=acr,
        seen_at=now,
    )
    item = _item(issuer, credentials.digest(value).hex(), session, began=now)
    changes: list[Change] = [Put(item, expected=0)]
    if replaces:
        changes.append(Drop(issuer.name, KIND, credentials.digest(replaces).hex()))
    actor = Actor("person", "session", person=person.subject, address=address)
    event = registry.audit.event("person.signed_in", issuer.name, actor)
    await registry.store.change(changes, [event])
    return value, Visit(session, person, item)


async def current(registry: Registry, issuer: Issuer, presented: str) -> Visit | None:
    """The session of a cookie's value, if it lives and its person may sign in.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if not presented:
        return None
    now = registry.clock() // 1000
    item = await registry.store.item(issuer.name, KIND, credentials.digest(presented).hex())
    if item is None or not item.lives(now):
        return None
    session = _decode(item.body)
    if now - session.seen_at >= issuer.settings.people.session_idle:
        return None
    person = await people.find(registry, issuer, session.subject)
    if person is None or person.disabled:
        return None
    if now - session.seen_at >= _COARSE:
        await _seen(registry, item, session, now)
    return Visit(session, person, item)


async def end(registry: Registry, issuer: Issuer, visit: Visit, changes: Sequence[Change] = ()) -> None:
    """End a session, with whatever has to be stored with that.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    actor = Actor("person", "session", person=visit.person.subject)
    event = registry.audit.event("person.signed_out", issuer.name, actor)
    await registry.store.change([Drop(issuer.name, KIND, visit.item.key), *changes], [event])


async def _seen(registry: Registry, item: Item, session: Session, now: int) -> None:
    later = msgspec.structs.replace(
        item, body=_encode(msgspec.structs.replace(session, seen_at=now)), version=item.version + 1
    )
    with suppress(Conflict):  # another request of the same browser wrote it down, or ended the session
        await registry.store.change([Put(later, expected=item.version)])


def _item(issuer: Issuer, key: str, session: Session, *, began: int) -> Item:
    ends = began + issuer.settings.people.session_lifetime
    return Item(issuer.name, KIND, key, _encode(session), owner=session.subject, expires_at=ends)


def new_browser(registry: Registry) -> str:
    """The value of the cookie that stays with a browser."""
    return credentials.token(registry.entropy(credentials.TOKEN_BYTES))


def bound(browser: str, *purpose: str) -> str:
    """A value that this browser alone has for a purpose: what forms carry against forgery, and state and nonce upstream.

    HMAC-SHA-256 under the cookie's value, which no other site can read or set (`__Host-`); so nothing is stored.
    """
    mac = hmac.digest(browser.encode(), "\0".join(purpose).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def is_bound(value: str, browser: str, *purpose: str) -> bool:
    """Whether a value is the one that this browser has for a purpose."""
    return bool(browser) and hmac.compare_digest(value.encode(), bound(browser, *purpose).encode())
