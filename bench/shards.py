"""How keys that begin with their time spread over shards: `bench/shards.py`. Pure: what docs/scale.md quotes.

An engine that shards by range sends a key where its neighbours are; one that shards by hash does not. Counted is the share
of the busiest shard among the registrations of an hour, on a registry that has a year behind it.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter

YEAR_MS, HOUR_MS = 365 * 24 * 3_600_000, 3_600_000
START_MS = 1_790_000_000_000


def keys(first_ms: int, span_ms: int, count: int, seed: int = 1) -> list[str]:
    """Identifiers as the registrar makes them: the millisecond, and then chance."""
    chance = random.Random(seed)
    return [f"{first_ms + chance.randrange(span_ms):011x}{chance.getrandbits(88):022x}" for _ in range(count)]


def by_range(shards: int, count: int) -> float:
    """The busiest shard's share, where shards are ranges that hold equally many of a year's keys."""
    year = sorted(keys(START_MS, YEAR_MS, count))
    bounds = [year[len(year) * at // shards] for at in range(1, shards)]
    new = keys(START_MS + YEAR_MS, HOUR_MS, count, seed=2)
    return max(Counter(sum(key >= bound for bound in bounds) for key in new).values()) / count


def by_hash(shards: int, count: int) -> float:
    """The same, where a key's shard is that of its hash."""
    new = keys(START_MS + YEAR_MS, HOUR_MS, count, seed=2)
    return max(Counter(hashlib.sha256(key.encode()).digest()[0] % shards for key in new).values()) / count


if __name__ == "__main__":
    for shards in (4, 16, 64):
        print(f"{shards} shards: by range {by_range(shards, 50_000):.1%}, by hash {by_hash(shards, 50_000):.1%}")
