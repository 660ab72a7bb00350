"""Delivering what lies in the outbox: by one process of many, several messages at once, each until it is taken.

A message leaves the outbox when its endpoint has answered with 2xx, or when it is given up. Whoever is killed between the
answer and that leaves it there, and it is sent once more under the same identifier: at least once, never not at all.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec

from registrar.domain import webhook
from registrar.domain.events import Actor
from registrar.domain.settings import Webhook
from registrar.domain.webhook import DELAYS, Message, SigningKeys
from registrar.service import leases, outbox
from registrar.service.outbox import Queue
from registrar.service.ports import Change, Conflict, Drop, FetchError, Item, Put, Sent, StoreUnavailable, Tell
from registrar.service.registry import Registry

STATE: Final = "webhook"
"""What is kept of a webhook among the items of a store: that its endpoint is gone. Its key is the webhook's name."""
_POLL: Final = 1.0
"""Seconds after which the outbox is looked at for what other processes have put there, and for what is due again."""
_AGAIN: Final = 5.0
"""And after something went wrong here."""
_PAGE: Final = 256
_LEASE: Final = 10
"""Seconds at the least for which one process delivers before another may."""
_GONE: Final = 410
_TAKEN: Final = range(200, 300)
_REGISTRAR: Final = Actor("registrar", "none")

log = logging.getLogger("registrar")


async def keep_delivering(registry: Registry, issuer: str, name: str) -> None:
    """Deliver the messages of an issuer to a webhook, until cancelled."""
    line = Line(registry, issuer, name)
    bell = registry.webhooks.bells[issuer, name]
    try:
        while True:
            bell.clear()
            try:
                if not await line.deliver():
                    await _rung(bell)
                continue
            except (StoreUnavailable, NoKeys) as problem:
                log.warning("messages to the webhook %s wait: %s", name, problem)
            except Exception:
                # Whatever it is, it is ours, and what waits must not wait for a restart.
                log.exception("messages to the webhook %s wait", name)
            await asyncio.sleep(_AGAIN)
    finally:
        await line.leave()


async def _rung(bell: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_POLL):
            await bell.wait()
    except TimeoutError:
        return


class Line:
    """The way of an issuer's messages to one webhook.

    Args:
        registry: what every use case is given.
        issuer: the issuer's name.
        name: the webhook's.
    """

    def __init__(self, registry: Registry, issuer: str, name: str) -> None:
        self._registry, self._issuer, self._name = registry, issuer, name
        self._webhook: Webhook = registry.webhooks.configured[name]
        self._held_until = 0
        self._queue = Queue(issuer, outbox.waiting(name))
        self._untold: dict[tuple[int, str, str], list[str]] = {}
        """What the log has to say of this round: level, sentence and problem -> the identifiers of messages."""
        self._turns = asyncio.Semaphore(self._webhook.at_once)
        self._taking = asyncio.Lock()

    async def deliver(self) -> bool:
        """Try what is due; whether there was anything.

        Raises:
            StoreUnavailable: the store does not answer; what was not taken out of the outbox is tried again.
            NoKeys: there is nothing to sign with.
        """
        store, clock = self._registry.store, self._registry.clock
        if not await self._queue.due(store, clock(), 1) or not await self._hold():
            return False
        due = await self._queue.due(store, clock(), _PAGE)
        try:
            return await self._round(due)
        finally:
            self._tell_log()

    async def _round(self, due: list[Item]) -> bool:
        if await gone(self._registry, self._issuer, self._name):
            await self._give_up(due)
            return True
        keys = await asyncio.to_thread(read_keys, self._webhook)
        done = await asyncio.gather(*(self._attempt(one, keys) for one in due), return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure
        return True

    def _tell_log(self) -> None:
        """One line for all that failed alike: an endpoint that is down must not fill the log with what waits for it."""
        for (level, said, problem), identifiers in self._untold.items():
            which = (
                identifiers[0] if len(identifiers) == 1 else f"{len(identifiers)} messages, {min(identifiers)} first"
            )
            log.log(level, "%s %s %s: %s", self._name, said, which, problem)
        self._untold.clear()

    def _note(self, level: int, said: str, message: Message) -> None:
        self._untold.setdefault((level, said, message.problem or "it is gone"), []).append(message.identifier)

    async def leave(self) -> None:
        """Let another process go on at once: this one is ending."""
        if not self._held_until:
            return
        try:
            await leases.give_up(self._registry.store, self._task, self._registry.webhooks.holder)
        except StoreUnavailable:
            return  # it ends by itself

    @property
    def _task(self) -> str:
        return f"webhook {self._issuer} {self._name}"

    async def _hold(self) -> bool:
        """Whether this process delivers here, for as long as one attempt may take at least."""
        registry = self._registry
        lasts = max(_LEASE, int(3 * self._webhook.seconds))
        async with self._taking:
            now = registry.clock() // 1000
            if not self._held_until - lasts <= now <= self._held_until - lasts // 2:
                mine = await leases.take(registry.store, self._task, registry.webhooks.holder, now, lasts)
                self._held_until = now + lasts if mine else 0
            return bool(self._held_until)

    async def _attempt(self, item: Item, keys: SigningKeys) -> None:
        async with self._turns:
            if not await self._hold():
                return
            message = outbox.decode(item.body)
            try:
                sent = await send(self._registry, self._webhook, keys, message.identifier, bytes(message.payload))
            except FetchError as problem:
                sent, said = Sent(0), problem.reason
            else:
                said = f"it answers with {sent.status}"
            if sent.status in _TAKEN:
                self._count("delivered")
                await self._change(Drop(item.issuer, item.kind, item.key, item.version))
                return
            tried = msgspec.structs.replace(message, attempts=message.attempts + 1, problem=said)
            if sent.status == _GONE:
                await self._disable()
                await self._give_up([item], tried)
            elif tried.attempts >= len(DELAYS):
                await self._give_up([item], tried)
            else:
                await self._later(item, tried, sent.retry_after)

    def _count(self, outcome: str) -> None:
        if (metrics := self._registry.metrics) is not None:
            metrics.webhook_attempts.add(self._name, outcome)

    async def _later(self, item: Item, message: Message, retry_after: int) -> None:
        self._count("again")
        delay = webhook.jittered(max(DELAYS[message.attempts], retry_after), self._registry.entropy(2))
        again = outbox.item(item.issuer, item.kind, message, self._registry.clock() + delay)
        self._note(logging.INFO, "was not told of", message)
        await self._change(Drop(item.issuer, item.kind, item.key, item.version), Put(again))

    async def _give_up(self, items: list[Item], message: Message | None = None) -> None:
        if message is not None:
            self._count("given_up")
        now_ms = self._registry.clock()
        changes: list[Change] = []
        for one in items:
            held = message or outbox.decode(one.body)
            kept, kind = self._webhook.keep_given_up, outbox.given_up(self._name)
            changes += [
                Drop(one.issuer, one.kind, one.key, one.version),
                Put(outbox.item(one.issuer, kind, held, now_ms, kept)),
            ]
            self._note(logging.WARNING, "is told no more of", held)
        await self._change(*changes)

    async def _disable(self) -> None:
        registry, now = self._registry, self._registry.clock() // 1000
        state = Item(self._issuer, STATE, self._name, str(now).encode())
        event = registry.audit.event("webhook.disabled", self._issuer, _REGISTRAR, detail={"webhook": self._name})
        await self._change(Put(state, 0), Tell(event))

    async def _change(self, *changes: Change) -> None:
        try:
            await self._registry.store.change(changes)
        except Conflict:
            return  # another process did it, which took this one for dead


async def send(registry: Registry, to: Webhook, keys: SigningKeys, identifier: str, payload: bytes) -> Sent:
    """Send a message once, signed as of now.

    Raises:
        FetchError: no answer came.
    """
    headers = keys.headers(identifier, registry.clock() // 1000, payload)
    try:
        async with asyncio.timeout(to.seconds):
            return await (registry.webhooks.fetch or registry.fetch).send(to.url, payload, headers)
    except TimeoutError:
        raise FetchError(f"it did not answer within {to.seconds:g} seconds") from None


class NoKeys(Exception):  # noqa: N818 (a state of things)
    """The file with the keys of a webhook cannot be read, or holds none; the message says why."""


def read_keys(to: Webhook) -> SigningKeys:
    """The keys of a webhook, as they are in its file now.

    Raises:
        NoKeys: there are none.
    """
    try:
        return SigningKeys.read(Path(to.secret_file).read_text("ascii"))
    except (OSError, ValueError) as problem:
        raise NoKeys(f"{to.secret_file}: {problem}") from None


async def gone(registry: Registry, issuer: str, name: str) -> int:
    """When an endpoint answered that it is gone, in seconds since 1970; 0 where it has not.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    state = await registry.store.item(issuer, STATE, name)
    return int(state.body) if state else 0
