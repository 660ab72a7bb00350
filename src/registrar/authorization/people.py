"""People: accounts that are kept here, with a password, and those for whom an upstream provider vouches.

A person is an item found by the subject, a random identifier that is nobody's name and no client's (RFC 7591 §5: the
two share no namespace). What leads to a person is an item too: the name that they sign in with, or what they are called
upstream. So a name is taken once, whoever asks at the same moment.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from registrar.authorization import passwords
from registrar.domain.errors import ProtocolError
from registrar.domain.events import Actor
from registrar.service import attempts
from registrar.service.ports import Change, Conflict, DropAll, Item, Put, StoreUnavailable
from registrar.service.registry import Issuer, Registry

KIND: Final = "person"
NAME: Final = "person_name"
"""Leads from the name that somebody signs in with to the subject."""
ELSEWHERE: Final = "person_upstream"
"""Leads from an upstream provider and its identifier of somebody to the subject."""

_SUBJECT_BYTES: Final = 16
_USERNAME: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]{1,128}")
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+")


class Unacceptable(Exception):  # noqa: N818 (an answer to a person)
    """A name or a password that cannot be taken; the message says why."""


class Unrecognised(Exception):  # noqa: N818 (an answer to a person)
    """A name and a password that do not belong together, or an account that is disabled: which, is not told."""


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody who can sign in."""

    issuer: str
    subject: str
    username: str
    claims: dict[str, Any] = {}
    """Claims of OpenID Connect Core §5.1 about them."""
    password: str = ""
    """Its hash; empty where an upstream provider signs them in."""
    upstream: str = ""
    """The issuer that vouches for them; empty for an account kept here."""
    disabled: bool = False
    created_at: int = 0
    version: int = 1

    def __repr__(self) -> str:
        """Without the hash: what prints the values of a traceback must not print this one."""
        return f"Person({self.subject!r})"

    @property
    def name(self) -> str:
        """What they are called on pages."""
        return self.claims.get("name") or self.username


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Person).decode


async def find(registry: Registry, issuer: Issuer, subject: str) -> Person | None:
    """A person by the subject, disabled ones too.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, subject)
    return _decode(item.body) if item else None


async def by_username(registry: Registry, issuer: Issuer, username: str) -> Person | None:
    """A person by the name that they sign in with, however it is capitalised.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, NAME, _folded(username))
    return await find(registry, issuer, item.body.decode()) if item else None


async def listed(registry: Registry, issuer: Issuer, after: str = "", limit: int = 500) -> Sequence[Person]:
    """People in the order of their subjects, from the one after `after`."""
    return [_decode(item.body) for item in await registry.store.items(issuer.name, KIND, after=after, limit=limit)]


async def claims(registry: Registry, issuer: Issuer, subject: str) -> Mapping[str, Any]:
    """The claims about a person (OpenID Connect Core §5.1), `sub` left out; none where the account is gone or disabled."""
    person = await find(registry, issuer, subject)
    if person is None or person.disabled:
        return {}
    return {"preferred_username": person.username, **person.claims}


# --- accounts that are kept here ------------------------------------------------------------------------------------


async def add(
    registry: Registry,
    issuer: Issuer,
    username: str,
    password: str,
    *,
    claims: Mapping[str, Any] | None = None,
    actor: Actor | None = None,
) -> Person:
    """Make an account with a password.

    Args:
        registry: what every use case is given.
        issuer: where the person signs in.
        username: the name to sign in with; kept as it is written, compared without regard to case.
        password: in the clear; only its hash is kept.
        claims: what else is known of them (OpenID Connect Core §5.1).
        actor: who makes it, for the audit; the person themselves where nobody is given.

    Raises:
        Unacceptable: the name is taken or is none, or the password is too short.
        ProtocolError: `temporarily_unavailable`; too many passwords are hashed at this moment.
        StoreUnavailable: the store does not answer.
    """
    username = unicodedata.normalize("NFKC", username.strip())
    if not _USERNAME.fullmatch(username):
        raise Unacceptable("A name to sign in with has 1 to 128 characters, without spaces.")
    check_password(issuer, password)
    if await registry.store.item(issuer.name, NAME, _folded(username)):  # before the hash, which is dear
        raise Unacceptable(f"The name {username} is taken.")
    person = Person(
        issuer=issuer.name,
        subject=_subject(registry),
        username=username,
        claims=dict(claims or {}),
        password=await passwords.hashed(password),
        created_at=registry.clock() // 1000,
    )
    try:
        await _enter(registry, issuer, person, NAME, _folded(username), actor)
    except Conflict:
        raise Unacceptable(f"The name {username} is taken.") from None
    return person


def check_password(issuer: Issuer, password: str) -> None:
    """Hold a new password to what is asked of one: its length alone (NIST SP 800-63B §3.1.1.2).

    Raises:
        Unacceptable: it is too short, or too long.
    """
    least = issuer.settings.people.password_characters
    if not least <= len(password) <= passwords.LONGEST:
        raise Unacceptable(f"A password has {least} to {passwords.LONGEST} characters.")


async def authenticate(registry: Registry, issuer: Issuer, username: str, password: str, address: str) -> Person:
    """The person whose name and password these are.

    An attempt is counted before it is looked at, so that many at once are not looked at all the same. They are counted
    for the name at this address and for the address alone: nobody can lock another out of an account from elsewhere.

    Raises:
        Unrecognised: they are nobody's, or the account is disabled.
        ProtocolError: `too_many_attempts` while the next attempt has to wait; `temporarily_unavailable`.
        StoreUnavailable: the store does not answer.
    """
    now = registry.clock() // 1000
    place = attempts.network(address)
    counted = (("person", issuer.name, place, _folded(username)), ("person", issuer.name, place))
    if wait := await registry.attempts.took(counted, now):
        raise ProtocolError("too_many_attempts", headers=[(b"retry-after", str(wait).encode())])
    person = await by_username(registry, issuer, username)
    matches = await passwords.matches(person.password if person else "", password)
    if person is None or not matches or person.disabled:
        if any([(await registry.attempts.of(who, now)).wait for who in counted]):
            actor = Actor("anonymous", "none", address=address)
            await registry.store.record(registry.audit.event("person.slowed", issuer.name, actor, endpoint="/sign-in"))
        raise Unrecognised
    for who in counted:
        await registry.attempts.succeeded(who, now)
    return person


async def set_password(
    registry: Registry,
    issuer: Issuer,
    person: Person,
    password: str,
    actor: Actor,
    changes: Sequence[Change] = (),
) -> Person:
    """Give a person another password; their sessions end, with whatever has to be stored with that.

    Raises:
        Unacceptable: it is too short, or the account is not kept here.
        StoreUnavailable: the store does not answer.
    """
    if person.upstream:
        raise Unacceptable(f"{person.username} signs in at {person.upstream}, which has the password.")
    check_password(issuer, password)
    encoded = await passwords.hashed(password)
    return await _change(registry, issuer, person, "password", actor, ("session",), changes, password=encoded)


async def set_disabled(
    registry: Registry,
    issuer: Issuer,
    person: Person,
    disabled: bool,
    actor: Actor,
    changes: Sequence[Change] = (),
) -> Person:
    """Disable or enable an account. With a disabled one go its sessions, and everything that was allowed under it.

    `changes` is what has to be stored with that.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    reason, ended = ("disabled", ("session", "grant", "code")) if disabled else ("enabled", ())
    return await _change(registry, issuer, person, reason, actor, ended, changes, disabled=disabled)


# --- people whom an upstream provider signs in ------------------------------------------------------------------------


async def from_upstream(registry: Registry, issuer: Issuer, provider: str, told: Mapping[str, Any]) -> Person:
    """The person of an upstream provider's ID token, whose account is made here at the first sign-in.

    They are known by issuer and `sub` alone (OpenID Connect Core §5.7): a name or an e-mail address may be anybody's,
    so neither leads to an account that is kept here.

    Raises:
        Unrecognised: the account is disabled here.
        StoreUnavailable: the store does not answer.
    """
    known = {
        name: told[name] for name in _FROM_UPSTREAM if isinstance(told.get(name), (str, bool)) and told[name] != ""
    }
    sub = str(told["sub"])
    username = str(known.pop("preferred_username", "") or known.get("email") or sub)[:128]
    key = hashlib.sha256(f"{provider}\0{sub}".encode()).hexdigest()
    item = await registry.store.item(issuer.name, ELSEWHERE, key)
    if item is None:
        person = Person(
            issuer=issuer.name,
            subject=_subject(registry),
            username=username,
            claims=known,
            upstream=provider,
            created_at=registry.clock() // 1000,
        )
        try:
            await _enter(registry, issuer, person, ELSEWHERE, key, None)
        except Conflict:  # two tabs at once; the other one made it
            return await from_upstream(registry, issuer, provider, told)
        return person
    found = await find(registry, issuer, item.body.decode())
    if found is None or found.disabled:
        raise Unrecognised
    if (found.username, found.claims) == (username, known):
        return found
    current = msgspec.structs.replace(found, username=username, claims=known, version=found.version + 1)
    try:
        await registry.store.change([_put(current, expected=found.version)])
    except Conflict:  # changed at the same moment, disabled perhaps
        return await from_upstream(registry, issuer, provider, told)
    return current


_FROM_UPSTREAM: Final = (
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "email",
    "email_verified",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
    "phone_number_verified",
)


# --- keeping ----------------------------------------------------------------------------------------------------------


def _subject(registry: Registry) -> str:
    # A full stop, which no client_id has: a subject and a client can never be taken for each other (RFC 9068 §5).
    return f"p.{registry.entropy(_SUBJECT_BYTES).hex()}"


def _folded(username: str) -> str:
    return unicodedata.normalize("NFKC", username.strip()).casefold()[:512]


def _put(person: Person, *, expected: int) -> Put:
    item = Item(person.issuer, KIND, person.subject, _encode(person), version=person.version, owner=person.subject)
    return Put(item, expected=expected)


async def _enter(registry: Registry, issuer: Issuer, person: Person, kind: str, key: str, actor: Actor | None) -> None:
    name = Item(issuer.name, kind, key, person.subject.encode(), owner=person.subject)
    by = actor or Actor("person", "session", person=person.subject)
    event = registry.audit.event("person.added", issuer.name, by, detail={"subject": person.subject})
    await registry.store.change([Put(name, expected=0), _put(person, expected=0)], [event])


async def _change(
    registry: Registry,
    issuer: Issuer,
    person: Person,
    reason: str,
    actor: Actor,
    ended: Sequence[str],
    changes: Sequence[Change],
    **values: Any,
) -> Person:
    """Replace values of a person as they are now, and end their items of some kinds."""
    detail = {"subject": person.subject, "reason": reason}
    event = registry.audit.event("person.changed", issuer.name, actor, detail=detail)
    gone = [DropAll(person.issuer, owner=person.subject, kind=kind) for kind in ended]
    for _ in range(_ATTEMPTS):
        changed = msgspec.structs.replace(person, version=person.version + 1, **values)
        try:
            await registry.store.change([_put(changed, expected=person.version), *gone, *changes], [event])
        except Conflict:
            person = await find(registry, issuer, person.subject) or person
        else:
            return changed
    raise StoreUnavailable("the account is changed by others all the time")


_ATTEMPTS: Final = 100


def is_email(text: str) -> bool:
    """Whether a text looks like an e-mail address."""
    return _EMAIL.fullmatch(text) is not None
