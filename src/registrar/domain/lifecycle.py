"""The life of a client that nobody uses: when it is looked at, warned, suspended and deleted. Pure.

What counts is the last use, and not how long ago it was registered. A client that was never used has a time of its own,
which is shorter. What a person allowed and what still lives protects it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from registrar.domain.client import IDLE, Client, State

DAY: Final = 86_400
COARSE: Final = 3_600
"""Seconds in which one use at the most is noted: the last one may be so much later than what is known of it."""


class Lifetime(msgspec.Struct, frozen=True):
    """`lifetime` of a policy: how long what is registered lasts, in seconds; 0 is without an end."""

    client: int = 0
    """From its registration, whatever it does."""
    secret: int = 0
    """Of each secret, from when it is issued."""
    unused: int = 0
    """Of a client that was never used, from its registration."""
    idle: int = 0
    """From its last use."""
    warning: int = 604_800
    """Before it is suspended, that it is told."""
    suspended: int = 2_592_000
    """From the suspension to the end; a day, where it is 0."""


class Life(msgspec.Struct, frozen=True):
    """What of a client says what becomes of it. The sweep reads so much of a record, a tenth of the work of the whole."""

    version: int
    state: State
    created_at: int
    policy: str
    template: str = ""
    expires_at: int = 0
    warned_at: int = 0
    suspended_at: int = 0
    suspended_by: str = ""


class Step(enum.StrEnum):
    """What becomes of a client that is looked at."""

    NOTHING = "nothing"
    WARN = "warn"
    SUSPEND = "suspend"
    DELETE = "delete"
    """Nobody used it, and nobody came back."""
    EXPIRE = "expire"
    """The time that it was registered for is over."""


class Look(NamedTuple):
    """What becomes of a client now, and when to look at it again, in seconds since 1970; 0 is never."""

    step: Step
    due_at: int


def first(created_at: int, expires_at: int, lifetime: Lifetime) -> int:
    """When a new client is looked at for the first time: where it may have been used by then, as soon as it may be idle."""
    lasts = min(lifetime.unused or lifetime.idle, lifetime.idle or lifetime.unused)
    if not lasts:
        return expires_at
    at = created_at + max(0, lasts - lifetime.warning)
    return min(at, expires_at) if expires_at else at


def look(client: Client | Life, used_at: int, lifetime: Lifetime, now: int, *, protected: bool) -> Look:
    """What becomes of a client.

    Args:
        client: it, as it is stored.
        used_at: when it was last used, in seconds since 1970 and to the hour; 0 where it never was.
        lifetime: of its policy.
        now: seconds since 1970.
        protected: whether something that a person allowed it still lives.
    """
    if client.state is State.DELETED:
        return Look(Step.NOTHING, 0)
    if client.expires_at and now >= client.expires_at:
        return Look(Step.EXPIRE, 0)
    found = _of_idleness(client, used_at, lifetime, now, protected=protected)
    if not client.expires_at or found.step in (Step.DELETE, Step.EXPIRE):
        return found
    return Look(found.step, min(found.due_at or client.expires_at, client.expires_at))


def _of_idleness(client: Client | Life, used_at: int, lifetime: Lifetime, now: int, *, protected: bool) -> Look:
    if client.state is State.SUSPENDED:
        if client.suspended_by != IDLE:
            return Look(Step.NOTHING, 0)  # the operator's to end
        end = client.suspended_at + (lifetime.suspended or DAY)
        return Look(Step.DELETE, 0) if now >= end and not protected else Look(Step.NOTHING, max(end, now + DAY))
    last = used_at + COARSE if used_at else client.created_at
    lasts = lifetime.idle if used_at else lifetime.unused
    # One that was never used may be from now on, which does not move its date: it is looked at before it can be idle.
    may_be = now + max(lifetime.idle - lifetime.warning, COARSE) if lifetime.idle and not used_at else 0
    if not lasts:
        return Look(Step.NOTHING, may_be)
    end, warning = last + lasts, min(lifetime.warning, lasts)
    if now < end - warning:
        return Look(Step.NOTHING, min(end - warning, may_be or end))
    if protected:
        return Look(Step.NOTHING, now + DAY)
    if warning and client.warned_at < last:
        return Look(Step.WARN, max(end, now + warning))
    if now < end or (warning and now < client.warned_at + warning):
        return Look(Step.NOTHING, max(end, client.warned_at + warning))
    if client.state is State.PENDING:  # it cannot have been used meanwhile
        return Look(Step.DELETE, 0)
    # Never deleted at once: a use between the look and the write would be lost, and one that is suspended comes back by it.
    return Look(Step.SUSPEND, now + (lifetime.suspended or DAY))


EVENT: Final[Mapping[Step, str]] = MappingProxyType(
    {
        Step.WARN: "client.expiring",
        Step.SUSPEND: "client.suspended",
        Step.DELETE: "client.deleted",
        Step.EXPIRE: "client.deleted",
    }
)
"""What tells of a step."""
