"""Merkle trees over a log that only grows (RFC 9162 §2.1): roots, and proofs that need none of the log.

An inclusion proof shows that an entry is in the log of which a root is known; a consistency proof, that the log of one
root is the beginning of that of another. Hashes are SHA-256, 32 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

EMPTY: Final = sha256().digest()
"""The root of a log without entries."""
HEIGHT: Final = 8
"""Nodes of a height that is a multiple of this are worth keeping: a proof then reads little of the log."""


class Span(NamedTuple):
    """Entries beside each other, of which a proof needs the root."""

    first: int
    end: int
    """The first one after them."""


class Node(NamedTuple):
    """The root of a perfect tree within the log."""

    height: int
    """It is over two to the power of this."""
    place: int
    """Which one of its height, from 0."""
    root: bytes


def leaf(entry: bytes) -> bytes:
    """The hash of an entry. The prefix keeps an inner node from being taken for an entry (RFC 9162 §2.1.1)."""
    return sha256(b"\0" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over the hashes of entries.

    Level by level from below: what is left over on a level goes up as it is, which is the tree of RFC 9162.
    """
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        above = [node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


class Growing:
    """A log of which only what a root needs is kept: one hash for each bit of its size.

    Args:
        size: entries so far.
        peaks: the roots of the perfect trees that they make, the largest first.

    Raises:
        ValueError: there is not one peak for each bit of the size.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if size < 0 or len(peaks) != size.bit_count():
            raise ValueError("a log has one peak for each bit of its size")
        self.size, self.peaks = size, list(peaks)
        self.nodes: list[Node] = []
        """Those that are worth keeping, of what was added."""

    def append(self, hashed: bytes) -> None:
        """Add an entry by its hash."""
        size, height = self.size, 0
        while size & 1:
            hashed = node(self.peaks.pop(), hashed)
            size >>= 1
            height += 1
            if not height % HEIGHT:
                self.nodes.append(Node(height, size, hashed))
        self.peaks.append(hashed)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root over everything that was added."""
        return joined(self.peaks)


def _split(size: int) -> int:
    """The largest power of two below a size above one."""
    return 1 << ((size - 1).bit_length() - 1)


def perfect(span: Span) -> list[Span]:
    """The perfect trees of which a span consists that begins where one does, the largest first."""
    found, first = [], span.first
    while first < span.end:
        end = first + (1 << ((span.end - first).bit_length() - 1))
        found.append(Span(first, end))
        first = end
    return found


def joined(peaks: Sequence[bytes]) -> bytes:
    """The root over perfect trees beside each other, by their roots, the largest first."""
    if not peaks:
        return EMPTY
    *higher, found = peaks
    for peak in reversed(higher):
        found = node(peak, found)
    return found


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The proof that the entry at an index is in the log (RFC 9162 §2.1.3.1).

    Raises:
        IndexError: there is no such entry.
    """
    return [root(leaves[first:end]) for first, end in inclusion_spans(len(leaves), index)]


def inclusion_spans(size: int, index: int) -> list[Span]:
    """Of what the proof that an entry is in the log of a size consists, in its order.

    Raises:
        IndexError: there is no such entry.
    """
    if not 0 <= index < size:
        raise IndexError(index)
    first, end, found = 0, size, []
    while end - first > 1:
        at = first + _split(end - first)
        if index < at:
            found.append(Span(at, end))
            end = at
        else:
            found.append(Span(first, at))
            first = at
    return found[::-1]


def includes(hashed: bytes, index: int, size: int, proof: Sequence[bytes], against: bytes) -> bool:
    """Whether a proof shows that an entry, by its hash, is at an index of the log of a size and root (§2.1.3.2)."""
    return led(hashed, index, size, proof) == against


def led(hashed: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to from an entry, by its hash; None where the proof does not fit index and size."""
    if not 0 <= index < size:
        return None
    first, last, found = index, size - 1, hashed
    for one in proof:
        if last == 0:
            return None
        if first & 1 or first == last:
            found = node(one, found)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            found = node(found, one)
        first >>= 1
        last >>= 1
    return found if last == 0 else None


def consistency(leaves: Sequence[bytes], before: int) -> list[bytes]:
    """The proof that the log begins with its first `before` entries (RFC 9162 §2.1.4.1).

    Raises:
        IndexError: it never had that size.
    """
    return [root(leaves[first:end]) for first, end in consistency_spans(len(leaves), before)]


def consistency_spans(size: int, before: int) -> list[Span]:
    """Of what the proof consists that the log of a size begins with its first `before` entries, in its order.

    Raises:
        IndexError: it never had that size.
    """
    if not 0 < before <= size:
        raise IndexError(before)
    first, end, found = 0, size, []
    while before != end:
        at = first + _split(end - first)
        if before <= at:
            found.append(Span(at, end))
            end = at
        else:
            found.append(Span(first, at))
            first = at
    if first:  # else it is the earlier log itself, of which the root is known
        found.append(Span(first, end))
    return found[::-1]


def extends(before: int, old: bytes, size: int, new: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the log of a size and root begins with that of another (RFC 9162 §2.1.4.2)."""
    if not 0 < before <= size:
        return False
    if before == size:
        return not proof and old == new
    path = list(proof) if before & (before - 1) else [old, *proof]
    if not path:
        return False
    first, last = before - 1, size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    then = now = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            then, now = node(one, then), node(one, now)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            now = node(now, one)
        first >>= 1
        last >>= 1
    return last == 0 and then == old and now == new
