"""Leases: of many processes on one database, one does what is to be done once. The database is what they agree through."""

from __future__ import annotations

from typing import Final

from registrar.service.ports import Conflict, Drop, Item, Put, Store

KIND: Final = "lease"
"""What these are called among the items of a store; the key is the task's name, the body whose it is."""
EVERYWHERE: Final = "*"
"""The issuer of what is of no issuer; no issuer can be called so."""
APART: Final = 3_600
"""Seconds that the clocks of processes are apart at the most, while they are right. What is further ahead of a clock than
that was written by one that was wrong, and must not outlast its being put right."""


async def take(store: Store, task: str, holder: str, now: int, seconds: int) -> bool:
    """Take a task or go on with it, for some seconds from now; whether it is this holder's.

    A lease is no lock: a holder that stands still for longer than its lease may wake up beside the next one. What is
    done under it has to be right even then (writes expect the version that was seen), and a lease keeps it from being
    done twice for nothing.

    Args:
        store: where all processes look.
        task: what it is for.
        holder: this process, by a name that no other one has.
        now: seconds since 1970.
        seconds: how long it is this holder's, unless taken again.

    Raises:
        StoreUnavailable: the store does not answer; then it is nobody's.
    """
    held = await store.item(EVERYWHERE, KIND, task)
    item = Item(EVERYWHERE, KIND, task, holder.encode(), expires_at=now + seconds)
    if held is not None and held.lives(now):
        if held.body != item.body and held.expires_at <= now + seconds + APART:
            return False
        put = Put(Item(EVERYWHERE, KIND, task, item.body, held.version + 1, expires_at=item.expires_at), held.version)
    else:
        put = Put(item, 0, now)
    try:
        await store.change([put])
    except Conflict:
        return False
    return True


async def give_up(store: Store, task: str, holder: str) -> None:
    """Let others take a task at once: this process is ending."""
    held = await store.item(EVERYWHERE, KIND, task)
    if held is None or held.body != holder.encode():
        return
    try:
        await store.change([Drop(EVERYWHERE, KIND, task, held.version)])
    except Conflict:
        return  # it had ended, and another one has it
