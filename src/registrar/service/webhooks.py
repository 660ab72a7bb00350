"""What an operator does with webhooks: looks at them, tries them out, lets them be told again, and sends again."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from registrar.domain import webhook
from registrar.domain.findings import shown
from registrar.domain.settings import Webhook
from registrar.domain.webhook import GivenUpMessage, Message, WaitingMessage
from registrar.service import delivery, outbox
from registrar.service.operators import Operator, Refused, Unknown, check_reason
from registrar.service.ports import Conflict, Drop, EventQuery, FetchError, Item, Put, StoredEvent
from registrar.service.registry import Issuer, Registry

_PAGE: Final = 200
MOST_COUNTED: Final = 2_000
"""Messages that are counted one by one; beyond that it is only known that there are more."""
_LAST: Final = 2**62
_DISORDER_MS: Final = 60_000
"""Between processes whose clocks differ, events may be stored out of the order of their times by so much."""


def find(registry: Registry, issuer: Issuer, name: str) -> Webhook:
    """A webhook that is told of an issuer.

    Raises:
        Unknown: there is none.
    """
    found = registry.webhooks.of(issuer.name)
    if name not in found:
        known = ", ".join(found) or "none"
        raise Unknown(f"there is no webhook {name} at {issuer.name}; these are told of it: {known}")
    return found[name]


class WebhookState(enum.StrEnum):
    """How a webhook fares."""

    ENABLED = "enabled"
    BEHIND = "behind"
    """What is due waits for more than a minute."""
    GONE = "gone"
    """Its endpoint answered that it is gone (410), and is told nothing more until it is enabled."""


class ShownWebhook(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A webhook as operators see it. Times are in seconds since 1970."""

    webhook: str
    """Its configured name."""
    url: str
    """Where it leads."""
    events: tuple[str, ...]
    """The kinds of events that it is told of, as they are configured."""
    state: WebhookState
    """How it fares."""
    gone_at: int = 0
    """When its endpoint answered that it is gone, where it did."""
    waiting: int
    """Messages that wait for it; beyond 2,000 they are not counted."""
    given_up: int
    """Messages that were given up; beyond 2,000 they are not counted."""
    next_attempt_at: int = 0
    """When the next of those that wait is tried."""


class Trial(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What came of trying a webhook out."""

    webhook: str
    """Its configured name."""
    identifier: str = msgspec.field(name="id")
    """The `webhook-id` of the message."""
    delivered: bool
    """Whether it was taken."""
    status: int = 0
    """The status of its answer, where there was one."""
    problem: str = ""
    """What went wrong, where something did."""


async def public(registry: Registry, issuer: Issuer, name: str) -> ShownWebhook:
    """What is shown of a webhook: where it leads, what waits for it, and since when it does.

    Raises:
        Unknown: there is none.
        StoreUnavailable: the store does not answer.
    """
    found = find(registry, issuer, name)
    now_ms = registry.clock()
    waits, oldest = await _counted(registry, issuer, outbox.waiting(name))
    dead, _ = await _counted(registry, issuer, outbox.given_up(name))
    since = await delivery.gone(registry, issuer.name, name)
    next_at = outbox.time_of(oldest) // 1000 if oldest else 0
    behind = oldest and next_at * 1000 < now_ms - _DISORDER_MS
    return ShownWebhook(
        webhook=name,
        url=found.url,
        events=found.events,
        state=WebhookState.GONE if since else WebhookState.BEHIND if behind else WebhookState.ENABLED,
        gone_at=since,
        waiting=waits,
        given_up=dead,
        next_attempt_at=next_at,
    )


async def _counted(registry: Registry, issuer: Issuer, kind: str) -> tuple[int, str]:
    number, after, first = 0, "", ""
    while number < MOST_COUNTED:
        page = await registry.store.items(issuer.name, kind, after=after, limit=500)
        if not page:
            break
        first, after, number = first or page[0].key, page[-1].key, number + len(page)
    return number, first


async def given_up(registry: Registry, issuer: Issuer, name: str, after: str = "") -> AsyncIterator[GivenUpMessage]:
    """The messages that were given up, in the order of the times at which they were; each with its `key`.

    Raises:
        Unknown: there is no such webhook.
        StoreUnavailable: the store does not answer.
    """
    find(registry, issuer, name)
    async for key, message in _messages(registry, issuer, outbox.given_up(name), after):
        yield message.given_up(key, outbox.time_of(key) // 1000)


async def waiting(registry: Registry, issuer: Issuer, name: str) -> AsyncIterator[WaitingMessage]:
    """The messages that wait, the next ones first; each with its `key`.

    Raises:
        Unknown: there is no such webhook.
        StoreUnavailable: the store does not answer.
    """
    find(registry, issuer, name)
    async for key, message in _messages(registry, issuer, outbox.waiting(name)):
        yield message.waiting(key, outbox.time_of(key) // 1000)


async def _messages(
    registry: Registry, issuer: Issuer, kind: str, after: str = ""
) -> AsyncIterator[tuple[str, Message]]:
    while page := await registry.store.items(issuer.name, kind, after=after, limit=_PAGE):
        for one in page:
            yield one.key, outbox.decode(one.body)
        after = page[-1].key


async def try_out(registry: Registry, issuer: Issuer, name: str) -> Trial:
    """Send a message of the type `webhook.test` now, once, and tell what came of it.

    Raises:
        Unknown: there is no such webhook.
        Refused: its keys cannot be read.
    """
    found = find(registry, issuer, name)
    try:
        keys = await asyncio.to_thread(delivery.read_keys, found)
    except delivery.NoKeys as problem:
        raise Refused(str(problem)) from None
    now_ms = registry.clock()
    identifier = f"test_{now_ms:011x}{registry.entropy(8).hex()}"
    body = webhook.test_payload(issuer.name, name, now_ms)
    try:
        sent = await delivery.send(registry, found, keys, identifier, body)
    except FetchError as problem:
        return Trial(webhook=name, identifier=identifier, delivered=False, problem=problem.reason)
    taken = sent.status // 100 == 2  # noqa: PLR2004 (2xx)
    said = "" if taken else f"it answers with {sent.status}"
    return Trial(webhook=name, identifier=identifier, delivered=taken, status=sent.status, problem=said)


async def enable(registry: Registry, issuer: Issuer, operator: Operator, name: str, reason: str = "") -> None:
    """Let an endpoint be told again that had answered that it is gone. What was given up meanwhile is replayed apart.

    Raises:
        Refused: there is no such webhook, or it is told already.
        StoreUnavailable: the store does not answer.
    """
    check_reason(reason)
    find(registry, issuer, name)
    state = await registry.store.item(issuer.name, delivery.STATE, name)
    detail = {"webhook": name, "reason": reason}
    event = registry.audit.event(
        "webhook.enabled", issuer.name, operator.actor(), endpoint=operator.door, detail=detail
    )
    enabled = Refused(f"the webhook {name} is enabled already")
    if state is None:
        raise enabled
    try:
        await registry.store.change([Drop(issuer.name, delivery.STATE, name, state.version)], [event])
    except Conflict:
        raise enabled from None


async def replay_given_up(
    registry: Registry, issuer: Issuer, operator: Operator, name: str, wanted: Sequence[str] = ()
) -> int:
    """Send what was given up again, as it was, with all its attempts before it; how many messages that are.

    Args:
        registry: what every use case is given.
        issuer: whose messages.
        operator: who does it.
        name: the webhook.
        wanted: identifiers of messages; all where there are none.

    Raises:
        Unknown: there is no such webhook.
        StoreUnavailable: the store does not answer; what was moved by then stays moved.
    """
    find(registry, issuer, name)
    count, after, kind = 0, "", outbox.given_up(name)
    while page := await registry.store.items(issuer.name, kind, after=after, limit=_PAGE):
        after = page[-1].key
        chosen = [one for one in page if not wanted or one.key.partition(".")[2] in wanted]
        changes = [change for one in chosen for change in _again(one, name, registry.clock())]
        if changes:
            await registry.store.change(changes)
        count += len(chosen)
    await _replayed(registry, issuer, operator, name, count, "given up")
    return count


def _again(dead: Item, name: str, now_ms: int) -> tuple[Drop, Put]:
    message = msgspec.structs.replace(outbox.decode(dead.body), attempts=0, problem="")
    put = Put(outbox.item(dead.issuer, outbox.waiting(name), message, now_ms))
    return Drop(dead.issuer, dead.kind, dead.key), put


async def replay(
    registry: Registry,
    issuer: Issuer,
    operator: Operator,
    name: str,
    *,
    since_ms: int,
    until_ms: int = 0,
    wanted: Sequence[str] = (),
) -> int:
    """Send events of the log again to a webhook, under the identifiers that they had; how many that are.

    A client goes with its events as it is now, whatever it was then: the newer version is the one to follow.

    Args:
        registry: what every use case is given.
        issuer: whose events.
        operator: who does it.
        name: the webhook; it is sent what it wants, and nothing else.
        since_ms: the first of them, in milliseconds since 1970.
        until_ms: the end, which is excluded; 0 is now.
        wanted: identifiers of messages; all where there are none.

    Raises:
        Unknown: there is no such webhook.
        StoreUnavailable: the store does not answer; what is in the outbox by then is sent.
    """
    found = find(registry, issuer, name)
    end = until_ms or registry.clock() + 1
    count, after = 0, await _before(registry, since_ms - _DISORDER_MS)
    # All issuers' are read: whoever asked for those of one that has few would look through all others' in one statement.
    while page := await registry.store.events(EventQuery(), after=after, limit=_PAGE):
        after = page[-1].sequence
        mine = [one for one in page if one.event.issuer == issuer.name and one.event.kind in found.kinds]
        chosen = [one for one in mine if since_ms <= one.event.time_ms < end]
        if wanted:
            chosen = [one for one in chosen if webhook.identifier(one.event) in wanted]
        if chosen:
            await registry.store.change([await _from_log(registry, issuer, name, one) for one in chosen])
        count += len(chosen)
        if (wanted and count >= len(wanted)) or page[0].event.time_ms > end + _DISORDER_MS:
            break
    await _replayed(registry, issuer, operator, name, count, "log")
    return count


async def replay_named(
    registry: Registry, issuer: Issuer, operator: Operator, name: str, identifiers: Sequence[str]
) -> int:
    """Send the messages of these identifiers again; how many of them are events of the log that the webhook wants.

    Raises:
        Refused: one of them is no identifier of a message, or there is no such webhook.
        StoreUnavailable: the store does not answer.
    """
    try:
        times = [webhook.told_at(one) for one in identifiers]
    except ValueError as problem:
        raise Refused(f"{shown(str(problem))} is no identifier of a message, such as evt_ and 43 digits") from None
    since, until = min(times, default=0), max(times, default=0) + 1
    return await replay(
        registry, issuer, operator, name, since_ms=since, until_ms=until, wanted=tuple(dict.fromkeys(identifiers))
    )


async def _before(registry: Registry, time_ms: int) -> int:
    """A place in the log before which nothing is as late as this; sequence numbers grow with time, whatever they are.

    Those of all issuers tell it: the next event of one that has few may lie behind all others.
    """
    low, high = 0, _LAST
    while low < high - 1:
        middle = (low + high) // 2
        page = await registry.store.events(EventQuery(), after=middle, limit=1)
        if page and page[0].event.time_ms < time_ms:
            low = page[0].sequence
        else:
            high = middle
    return low


async def _from_log(registry: Registry, issuer: Issuer, name: str, stored: StoredEvent) -> Put:
    event = stored.event
    client = await registry.store.find(issuer.name, event.client_id) if event.client_id else None
    body = msgspec.Raw(webhook.payload(event, client))
    message = Message(webhook.identifier(event), event.kind, body)
    return Put(outbox.item(issuer.name, outbox.waiting(name), message, registry.clock()))


async def _replayed(registry: Registry, issuer: Issuer, operator: Operator, name: str, count: int, source: str) -> None:
    if not count:
        return
    registry.webhooks.bells[issuer.name, name].set()
    detail = {"webhook": name, "count": count, "reason": source}
    event = registry.audit.event(
        "webhook.replayed", issuer.name, operator.actor(), endpoint=operator.door, detail=detail
    )
    await registry.store.record(event)
