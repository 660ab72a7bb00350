"""The Merkle tree of the log as it is stored: some of its nodes, so that a proof reads a few of them and not the log.

Nodes lie in tiles, 256 of one height beside each other, each over 256 of those below; the lowest are the batches. A tile
is written in the transaction of the checkpoint whose batches completed a node of it. What lacks is made from what lies
below: tiles only spare work, and whoever verifies a proof needs to believe none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby
from typing import Final

from registrar.domain import chain, merkle
from registrar.domain.merkle import HEIGHT, Node, Span
from registrar.service.leases import EVERYWHERE
from registrar.service.ports import Conflict, Item, Put, Store

KIND: Final = "checkpoint.tile"
"""Items that are tiles, by the height of their nodes and which of that height they are."""
WIDE: Final = 1 << HEIGHT
"""Nodes of a tile."""
_HASH: Final = 32


def key(height: int, tile: int) -> str:
    """Under which a tile is found."""
    return f"{height:02d}.{tile:012d}"


async def puts(store: Store, nodes: Iterable[Node]) -> list[Put]:
    """The tiles with nodes that were completed, to be stored with the checkpoint that covers them.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = []
    for (height, tile), group in groupby(sorted(nodes), key=lambda one: (one.height, one.place // WIDE)):
        new = list(group)
        at = new[0].place % WIDE
        held, version = await _tile(store, height, tile)
        if len(held) < at:
            held = await _made(store, height, tile * WIDE, at)
        body = b"".join([*held[:at], *(one.root for one in new)])
        found.append(Put(Item(EVERYWHERE, KIND, key(height, tile), body, version + 1), version))
    return found


async def complete(store: Store, size: int) -> int:
    """Make and store what tiles lack of a log of a size, a tile at a time; how many lacked something.

    Of a log that began before there were tiles that is all of them. Without, each proof would make it anew.

    Raises:
        StoreUnavailable: the store does not answer; the next call goes on.
    """
    count, height = 0, HEIGHT
    while nodes := size >> height:
        for tile in range(-(-nodes // WIDE)):
            held, version = await _tile(store, height, tile)
            wanted = min(WIDE, nodes - tile * WIDE)
            if len(held) >= wanted:
                continue
            body = b"".join(await _made(store, height, tile * WIDE, wanted))
            try:
                await store.change([Put(Item(EVERYWHERE, KIND, key(height, tile), body, version + 1), version)])
            except Conflict:
                continue  # a checkpoint has just been made, and added to it
            count += 1
        height += HEIGHT
    return count


async def _made(store: Store, height: int, first: int, count: int) -> list[bytes]:
    """Nodes beside each other, from what lies below; others have their turn between them."""
    found = []
    for place in range(first, first + count):
        found.append(await _node(store, height, place))
        await asyncio.sleep(0)
    return found


class Proofs:
    """The roots that proofs consist of; what was read for one is kept for the others.

    Args:
        store: where the log is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tiles: dict[tuple[int, int], list[bytes]] = {}

    async def roots(self, spans: Sequence[Span]) -> list[bytes]:
        """The root of each span of the log.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        return [merkle.joined([await self._perfect(one) for one in merkle.perfect(span)]) for span in spans]

    async def _perfect(self, span: Span) -> bytes:
        above, within = divmod((span.end - span.first).bit_length() - 1, HEIGHT)
        height = above * HEIGHT
        tile, at = divmod(span.first >> height, WIDE)
        held = self._tiles.get((height, tile))
        if held is None:
            held = self._tiles[height, tile] = await _stored(self._store, height, tile)
        wanted = 1 << within
        if len(held) < at + wanted:
            return merkle.root(await _made(self._store, height, span.first >> height, wanted))
        return merkle.root(held[at : at + wanted])


async def _stored(store: Store, height: int, tile: int) -> list[bytes]:
    """The nodes of a tile, as far as they are stored."""
    if not height:
        return [chain.entry(one) for one in await store.log(after=tile * WIDE, limit=WIDE)]
    return (await _tile(store, height, tile))[0]


async def _tile(store: Store, height: int, tile: int) -> tuple[list[bytes], int]:
    """The nodes of a tile above the batches, and the version of what holds them; 0 where nothing does."""
    held = await store.item(EVERYWHERE, KIND, key(height, tile))
    return (_split(held.body), held.version) if held else ([], 0)


async def stored(store: Store) -> AsyncIterator[tuple[Node, bytes]]:
    """Each node that is stored, without its root, and the root that is stored of it; that may be anything.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    after = ""
    while page := await store.items(EVERYWHERE, KIND, after=after):
        for one in page:
            height, _, tile = one.key.partition(".")
            if not (height.isdecimal() and tile.isdecimal() and one.key == key(int(height), int(tile))):
                continue  # nothing reads it
            for at, root in enumerate(_split(one.body)):
                yield Node(int(height), int(tile) * WIDE + at, b""), root
        after = page[-1].key


def _split(body: bytes) -> list[bytes]:
    return [body[at : at + _HASH] for at in range(0, len(body) - len(body) % _HASH, _HASH)]


async def _node(store: Store, height: int, index: int) -> bytes:
    """A node, where its tile lacks it."""
    if not height:
        return merkle.EMPTY  # the log has no such place: whoever looks at the proof will see
    below = await _stored(store, height - HEIGHT, index)
    if len(below) < WIDE:
        first = index * WIDE
        below = await _made(store, height - HEIGHT, first, WIDE)
    return merkle.root(below)
