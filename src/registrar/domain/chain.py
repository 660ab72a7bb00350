"""The chain of a writer: each batch of events is linked to the batch before it, over the events' Merkle root.

A writer is one start of a process, or one of its connections. What it has committed, and in which order, follows from
its last link: whoever edits, removes, adds or reorders anything has to make every later link anew, and the links stand
in the log that checkpoints sign.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from registrar.domain import merkle

BEGINNING: Final = b"\0" * 32
"""What the first batch of a writer is linked to."""
_LABEL: Final = b"registrar audit batch 1\0"


class Batch(msgspec.Struct, frozen=True):
    """What is kept of a batch beside its events."""

    writer: str
    number: int
    """1 for the first of a writer; none is left out."""
    events: int
    root: bytes
    """The Merkle root over the bodies of its events, in their order."""
    link: bytes
    place: int = 0
    """Its place in the log of all writers, from 1; 0 until a checkpoint has put it there."""


def link(before: bytes, writer: str, number: int, events: int, root: bytes) -> bytes:
    """The link of a batch to the one before."""
    head = f"{writer}\0{number}\0{events}\0".encode()
    return sha256(_LABEL + before + head + root).digest()


def batch(before: bytes, writer: str, number: int, leaves: Sequence[bytes]) -> Batch:
    """A batch of events, by the hashes of their bodies (`merkle.leaf`)."""
    root = merkle.root(leaves)
    return Batch(writer, number, len(leaves), root, link(before, writer, number, len(leaves), root))


def linked(before: Batch | None, one: Batch) -> str:
    """What is wrong between a batch and the one before it; empty where nothing is."""
    number = before.number + 1 if before else 1
    if one.number != number:
        return f"batch {number} is missing"
    made = link(before.link if before else BEGINNING, one.writer, one.number, one.events, one.root)
    return "" if hmac.compare_digest(made, one.link) else "its link does not follow from the batch before"


def holds(one: Batch, bodies: Iterable[bytes]) -> bool:
    """Whether these are the events of a batch, in their order."""
    return merkle.root([merkle.leaf(body) for body in bodies]) == one.root


def placed(one: Batch, place: int) -> Batch:
    """A batch with its place in the log."""
    return msgspec.structs.replace(one, place=place)


def runs(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Batches in the order of their writers and numbers, parted where one does not follow the one before."""
    run: list[Batch] = []
    for one in batches:
        if run and (one.writer, one.number) != (run[-1].writer, run[-1].number + 1):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def entry(one: Batch) -> bytes:
    """The hash of a batch as an entry of the log: its link stands for its events and for everything before them."""
    return merkle.leaf(one.link)
