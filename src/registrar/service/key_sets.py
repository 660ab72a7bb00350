"""Key sets of others, by URL: fetched through the guard, kept for a while, and never longer than can be answered for.

An unknown `kid` brings a new fetch, a dead endpoint the keys as they last were, and both at a bounded rate, so that
nobody who presents tokens decides how much is fetched. After its hard lifetime a key set that cannot be fetched anew
verifies nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Any, Final, Self

from registrar.domain import jwks, jws, strict_json
from registrar.domain.jws import JWK, UnverifiedJWS, VerifiedJWS
from registrar.domain.settings import KeySetCaching
from registrar.domain.strict_json import NotStrict
from registrar.service.ports import Clock, Fetch, FetchError

ACCEPT: Final = ("application/jwk-set+json", "application/json", "application/*+json")
BYTES: Final = 131_072
"""Bytes of one key set at the most."""
KEYS: Final = 100
"""Keys of one set at the most: an organisation's directory has more than a client may register."""
VERIFICATIONS: Final = 2_048
"""Verifications that are kept: with the longest of them, some tens of megabytes."""

_KEPT_CHARACTERS: Final = 8_192
_NESTED: Final = 4 * KEYS
_PRIVATE: Final = {jwks.PRIVATE.name, jwks.SYMMETRIC.name}


class KeysUnavailable(Exception):  # noqa: N818 (a name that reads as what happened)
    """There is no key set to verify with, and why; the reason may be shown to a client."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeySet(tuple[JWK, ...]):  # noqa: SLOT001 (a tuple's own slots are empty or none)
    """Public keys, and what distinguishes this set from every other: whoever adds or takes away a key changes it."""

    generation: bytes

    def __new__(cls, keys: Iterable[JWK] = ()) -> Self:
        """The keys as a set of their own generation."""
        made = super().__new__(cls, keys)
        made.generation = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).digest()
        return made

    def has(self, kid: str) -> bool:
        """Whether a key has this identifier."""
        return any(key.get("kid") == kid for key in self)


class _Entry:
    """What is known of one URL. Times are in milliseconds."""

    __slots__ = ("at", "fresh_until", "keys", "next_fetch", "problem", "size", "until")

    def __init__(self) -> None:
        self.keys: KeySet | None = None
        self.size = 0
        self.fresh_until = 0
        self.until = 0
        """The hard end of the keys."""
        self.next_fetch = 0
        """Nothing is fetched before."""
        self.at = 0
        """When it was last fetched, or tried to be."""
        self.problem = "it has not been fetched"


class KeySets:
    """The key sets of others.

    Args:
        fetch: the guard.
        clock: now.
        settings: how long and how many.
    """

    def __init__(self, fetch: Fetch, clock: Clock, settings: KeySetCaching | None = None) -> None:
        self._fetch, self._clock = fetch, clock
        self._settings = settings or KeySetCaching()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._verifications = Verifications(clock)

    async def verify(
        self, unverified: UnverifiedJWS, url: str, algorithms: Collection[str], kid: str | None
    ) -> VerifiedJWS:
        """A JWS verified with the key set at a URL; one that was verified with these very keys before is remembered.

        Raises:
            KeysUnavailable: as `keys`.
            Refused: as `jws.verify`.
        """
        return self._verifications.verify(unverified, await self.keys(url, kid), algorithms)

    async def keys(self, url: str, kid: str | None = None) -> KeySet:
        """The key set at a URL; it has the key `kid`, unless the one who publishes it does not have that key.

        Raises:
            KeysUnavailable: it cannot be fetched, and what was kept is too old or there is nothing.
        """
        entry = self._entries.get(url) or _Entry()
        now = self._clock()
        if now < entry.at:
            # The clock has gone back. How old the keys are is not known; so they are fetched anew, and are used no longer
            # than if they had been fetched now.
            entry.at, entry.fresh_until, entry.next_fetch = now, 0, 0
            entry.until = min(entry.until, now + self._settings.hard_seconds * 1000)
        known = entry.keys is not None and (kid is None or entry.keys.has(kid))
        if (now >= entry.fresh_until or not known) and (now >= entry.next_fetch or url in self._under_way):
            task = self._under_way.get(url) or self._begin(url, entry)
            # Where it failed last, whoever can go on with the keys as they were does not wait for it to fail again.
            if not (known and entry.problem and now < entry.until):
                # One fetch for all who wait; who goes away meanwhile does not end it for the others.
                await asyncio.shield(task)
                entry = self._entries.get(url, entry)
        if url in self._entries:
            self._entries.move_to_end(url)
        if entry.keys is None or self._clock() >= entry.until:
            raise KeysUnavailable(f"the key set of its issuer is not available: {entry.problem}")
        return entry.keys

    def _begin(self, url: str, entry: _Entry) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._renew(url, entry))
        self._under_way[url] = task
        task.add_done_callback(lambda _: self._under_way.pop(url, None))
        return task

    async def _renew(self, url: str, entry: _Entry) -> None:
        settings = self._settings
        entry.at = self._clock()
        try:
            fetched = await self._fetch(url, accept=ACCEPT, limit=BYTES)
            keys = read(fetched.body)
        except (FetchError, KeysUnavailable) as problem:
            entry.problem = problem.reason
            entry.next_fetch = self._clock() + settings.retry_seconds * 1000
            if isinstance(problem, Disclosed):
                entry.keys = None
            self._keep(url, entry, 0 if entry.keys is None else entry.size)
            return
        now = self._clock()
        said = settings.fresh_seconds if fetched.expires_in is None else fetched.expires_in
        entry.keys = keys
        entry.problem = ""
        entry.next_fetch = now + settings.again_seconds * 1000
        entry.fresh_until = now + max(min(said, settings.fresh_seconds_at_most), settings.again_seconds) * 1000
        entry.until = now + settings.hard_seconds * 1000
        self._keep(url, entry, len(fetched.body))

    def _keep(self, url: str, entry: _Entry, size: int) -> None:
        before = self._entries.pop(url, None)
        self._size += size - (before.size if before else 0)
        entry.size = size
        self._entries[url] = entry
        while len(self._entries) > self._settings.sets or (
            self._size > self._settings.bytes and len(self._entries) > 1
        ):
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size


class Disclosed(KeysUnavailable):
    """A set that publishes private or secret keys: none of its keys can be trusted any more, those kept neither."""


def read(body: bytes) -> KeySet:
    """The usable keys of a fetched key set; keys of other types, and broken ones, are passed over (RFC 7517 §5).

    Raises:
        Disclosed: it holds private or secret key material.
        KeysUnavailable: it is not a key set.
    """
    try:
        keys = strict_json.read_object(body, nested=_NESTED).get("keys")
    except NotStrict as problem:
        raise KeysUnavailable(f"it is not strict JSON: {problem}") from None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise KeysUnavailable("it is not a JWK Set")
    if len(keys) > KEYS:
        raise KeysUnavailable(f"it has more than {KEYS} keys")
    return KeySet(key for key in keys if _is_usable(key))


def _is_usable(key: dict[str, Any]) -> bool:
    faults = {fault.rule for fault in jwks.judge({"keys": [key]})}
    if faults & _PRIVATE:
        raise Disclosed("it holds private or secret key material")
    return not faults


_Place = tuple[bytes, bytes, frozenset[str]]


class Verifications:
    """JWS that were verified before, so that the same one need not be verified again.

    A verification counts for the very key set that it was made with, for the algorithms that were allowed then, and
    until the JWS expires. What time and audience allow is for the caller to check, each time.

    Args:
        clock: now.
        most: how many are kept; the one used longest ago makes room.
    """

    def __init__(self, clock: Clock, most: int = VERIFICATIONS) -> None:
        self._clock, self._most = clock, most
        self._kept: OrderedDict[_Place, tuple[float, VerifiedJWS]] = OrderedDict()

    def verify(self, unverified: UnverifiedJWS, keys: KeySet, algorithms: Collection[str]) -> VerifiedJWS:
        """As `jws.verify`, remembered.

        Raises:
            Refused: as there; a refusal is not remembered.
        """
        place = (unverified.digest, keys.generation, frozenset(algorithms))
        now = self._clock() / 1000
        if (kept := self._kept.get(place)) is not None:
            if now < kept[0]:
                self._kept.move_to_end(place)
                return kept[1]
            del self._kept[place]
        verified = jws.verify(unverified, keys, algorithms)
        expires = verified.claims.get("exp")
        sound = len(verified.compact) <= _KEPT_CHARACTERS and jws.check_times(verified.claims, now, skew=0) is None
        if sound and isinstance(expires, (int, float)):
            self._kept[place] = (expires, verified)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return verified
