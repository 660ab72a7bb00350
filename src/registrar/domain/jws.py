"""Skeleton: replaced by the branch that builds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec


class Malformed(ValueError):  # noqa: N818
    """No compact JWS."""


class Refused(Exception):  # noqa: N818
    """Not to be believed."""


class UnknownKey(Exception):  # noqa: N818
    """No key has its kid."""


class UnverifiedJWS(msgspec.Struct, frozen=True):
    header: Mapping[str, Any]
    claims: dict[str, Any]
    compact: str
    digest: bytes

    @property
    def kid(self) -> str | None:
        return None

    @property
    def x5c(self) -> Sequence[bytes]:
        return ()


class VerifiedJWS(msgspec.Struct, frozen=True):
    header: Mapping[str, Any]
    claims: dict[str, Any]


def read(compact: str, limit: int) -> UnverifiedJWS:
    raise Malformed(compact[:0] + str(limit))


def verify(unverified: UnverifiedJWS, keys: Sequence[Mapping[str, Any]], algorithms: Collection[str]) -> VerifiedJWS:
    raise Refused((unverified, keys, algorithms))


def check_times(
    claims: Mapping[str, Any], now: int, *, skew: int = 0, max_age: int | None = None, max_lifetime: int | None = None
) -> str | None:
    raise Refused((claims, now, skew, max_age, max_lifetime))


def check_audience(claims: Mapping[str, Any], accepted: Collection[str]) -> str | None:
    raise Refused((claims, accepted))
