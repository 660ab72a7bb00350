"""Processes that are configured differently hear of it; those that are alike do not, nor of one that has gone."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from registrar.service.agreement import Agreement, digest
from registrar.testing import served

pytestmark = pytest.mark.anyio

TEXT = """
[server]
database = "memory:"
[issuer.main]
url = "https://as.example"
[issuer.main.registration]
mode = "open"
"""


async def test_a_difference_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """By the name of the issuer, by whichever of the two looks, until the other has gone."""
    async with served(TEXT) as one, served(TEXT.replace('"open"', '"client"')) as two:
        other = dataclasses.replace(two.registry, store=one.registry.store, clock=one.clock)
        same = Agreement(one.registry), Agreement(one.registry)
        with caplog.at_level(logging.WARNING, "registrar"):
            assert [await each.look() for each in same] == [frozenset(), frozenset()]
            assert caplog.records == []
            different = Agreement(other)
            assert await different.look() == {"main"}
            assert await different.look() == {"main"}
            assert await same[0].look() == {"main"}
            assert [record.args for record in caplog.records] == [("main",), ("main",)]
            one.clock.advance(200)
            assert await same[0].look() == frozenset()


async def test_the_hash_is_of_what_decides() -> None:
    """A setting and a policy move it; the order of things, another process and another port do not."""
    policy = "[policy.own]\nrules = []"
    texts = (
        TEXT,
        TEXT.replace("as.example", "other.example"),
        TEXT + policy,
        TEXT + policy.replace("[]", "[{ rule = 'one_host' }]"),
    )
    found = []
    for text in texts:
        async with served(text) as server:
            found.append(digest(server.issuer))
    assert len(set(found)) == len(texts)
    async with served(TEXT) as again:
        assert digest(again.issuer) == found[0]
    async with served(texts[2].replace("[server]", "[server]\nport = 8001")) as again:
        assert digest(again.issuer) == found[2]
