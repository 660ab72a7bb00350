"""Skeleton: replaced by the branch that builds it."""

from __future__ import annotations

from collections.abc import Collection

from registrar.domain.jws import UnverifiedJWS, VerifiedJWS


class KeysUnavailable(Exception):  # noqa: N818
    """The keys cannot be had."""


class KeySets:
    async def verify(
        self, unverified: UnverifiedJWS, url: str, algorithms: Collection[str], kid: str | None
    ) -> VerifiedJWS:
        raise KeysUnavailable((unverified, url, algorithms, kid))
