"""Key sets of others: how long they are kept, how often they are fetched, and what still counts when they are gone."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import Any

import pytest
from joserfc import jws as jose
from joserfc.jwk import JWKRegistry

from registrar.domain import jws
from registrar.domain.settings import KeySetCaching
from registrar.service.key_sets import Disclosed, KeySet, KeySets, KeysUnavailable, Verifications, read
from registrar.service.ports import Fetched, FetchError
from registrar.testing import OPEN, Documents, FrozenClock, served

pytestmark = pytest.mark.anyio

URL = "https://directory.example/jwks"
DOWN = FetchError("its host cannot be reached")


@cache
def key(name: str) -> Any:
    """A signing key by its kid; made once."""
    return JWKRegistry.generate_key("EC", "P-256", {"kid": name})


def document(*names: str, **more: Any) -> bytes:
    """A key set of these keys."""
    return json.dumps({"keys": [key(name).as_dict(private=False) for name in names], **more}).encode()


def kids(keys: KeySet) -> list[Any]:
    """Which keys there are."""
    return [one.get("kid") for one in keys]


class Directory:
    """Somebody's key set under a URL, and what keeps it here."""

    def __init__(self, *names: str, expires_in: int | None = None, **settings: int) -> None:
        self.clock = FrozenClock()
        self.documents = Documents()
        self.sets = KeySets(self.documents, self.clock, KeySetCaching(**settings))
        self.publish(*names, expires_in=expires_in)

    def publish(self, *names: str, expires_in: int | None = None) -> None:
        """Other keys from now on."""
        self.documents.documents[URL] = Fetched(URL, "application/json", document(*names), expires_in)

    def fail(self, problem: FetchError | bytes = DOWN) -> None:
        """No keys from now on."""
        self.documents.documents[URL] = problem

    @property
    def fetches(self) -> int:
        """How often the set was fetched."""
        return len(self.documents.fetched)


@pytest.mark.parametrize(("said", "kept"), [(None, 300), (60, 60), (0, 10), (5, 10), (86_400, 900)])
async def test_a_set_is_kept_as_long_as_its_answer_says(said: int | None, kept: int) -> None:
    """Five minutes where it says nothing; never less than the bounded rate, never more than the operator's limit."""
    directory = Directory("a", expires_in=said)
    await directory.sets.keys(URL)
    directory.clock.advance(kept - 1)
    await directory.sets.keys(URL, "a")
    assert directory.fetches == 1

    directory.publish("b")
    directory.clock.advance(1)
    assert kids(await directory.sets.keys(URL)) == ["b"]
    assert directory.fetches == 2


async def test_one_fetch_for_all_who_wait() -> None:
    """A hundred callers at once cost one fetch, and one of them going away costs the others nothing."""
    directory = Directory("a")
    waiting = [asyncio.create_task(directory.sets.keys(URL, "a")) for _ in range(100)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(one, KeySet) and kids(one) == ["a"] for one in found[1:])
    assert directory.fetches == 1


async def test_an_unknown_kid_brings_a_fetch_at_a_bounded_rate() -> None:
    """A rotation is seen at once; invented identifiers bring one fetch in ten seconds, however many are presented."""
    directory = Directory("a")
    await directory.sets.keys(URL, "a")
    directory.clock.advance(10)
    directory.publish("a", "b")
    assert kids(await directory.sets.keys(URL, "b")) == ["a", "b"]
    assert directory.fetches == 2

    for at in range(100):
        assert kids(await directory.sets.keys(URL, f"invented-{at}")) == ["a", "b"]
        directory.clock.advance(0.09)
    assert directory.fetches == 2
    directory.clock.advance(1)
    await directory.sets.keys(URL, "invented")
    assert directory.fetches == 3


async def test_a_directory_that_is_down() -> None:
    """The keys as they last were count for an hour, and then none: whoever cannot be asked is not believed."""
    directory = Directory("a")
    await directory.sets.keys(URL, "a")
    directory.fail()
    directory.clock.advance(3_599)
    assert kids(await directory.sets.keys(URL, "a")) == ["a"]

    directory.clock.advance(1)
    with pytest.raises(KeysUnavailable, match="its host cannot be reached"):
        await directory.sets.keys(URL, "a")
    directory.publish("b")
    directory.clock.advance(5)
    assert kids(await directory.sets.keys(URL, "b")) == ["b"]


async def test_a_directory_that_is_down_is_asked_at_a_bounded_rate() -> None:
    """Once in five seconds, whether or not there are keys from before."""
    directory = Directory()
    directory.fail()
    for _ in range(50):
        with pytest.raises(KeysUnavailable):
            await directory.sets.keys(URL, "a")
        directory.clock.advance(0.09)
    assert directory.fetches == 1
    directory.clock.advance(0.5)
    with pytest.raises(KeysUnavailable):
        await directory.sets.keys(URL, "a")
    assert directory.fetches == 2

    directory.publish("a")
    directory.clock.advance(5)
    await directory.sets.keys(URL, "a")
    assert directory.fetches == 3


async def test_nobody_waits_for_a_directory_that_failed_last() -> None:
    """Where the keys from before still count, they are given at once, and the directory is asked meanwhile."""
    directory = Directory("a")
    await directory.sets.keys(URL, "a")
    directory.fail()
    directory.clock.advance(300)
    await directory.sets.keys(URL, "a")
    directory.publish("a", "b")
    directory.clock.advance(5)

    assert kids(await directory.sets.keys(URL, "a")) == ["a"]
    assert kids(await directory.sets.keys(URL, "b")) == ["a", "b"]
    assert directory.fetches == 3


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"text", b"\xff", b'{"keys":1}', b'{"keys":[1]}', b"{}", b'{"keys":[],"keys":[]}'),
        json.dumps({"keys": [{"kty": "RSA"}] * 101}).encode(),
        b'{"keys":[' + b"[" * 500 + b"]" * 500 + b"]}",
        b" " * 200_000,
    ],
)
async def test_what_is_not_a_key_set(body: bytes) -> None:
    """An answer of another shape or size counts as none: the keys from before stay, and nothing else is kept."""
    directory = Directory("a")
    await directory.sets.keys(URL)
    directory.fail(body)
    directory.clock.advance(300)

    assert kids(await directory.sets.keys(URL)) == ["a"]
    with pytest.raises(KeysUnavailable):
        await KeySets(Documents({URL: body}), directory.clock).keys(URL)


def test_keys_that_are_of_no_use_here_are_passed_over() -> None:
    """Other key types, short or broken keys do not spoil the rest of the set; members unknown here do not either."""
    usable = key("a").as_dict(private=False)
    others: list[dict[str, Any]] = [
        {"kty": "AKP", "kid": "pq", "pub": "AA"},
        {"kid": "none"},
        {"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "kid": "off", "crv": "P-256", "x": "AA", "y": "AA"},
        {**usable, "kid": 5},
    ]
    found = read(json.dumps({"keys": [*others, {**usable, "number": 10**60}], "more": True}).encode())

    assert kids(found) == ["a"]


def test_a_set_without_keys_is_a_set() -> None:
    """Whoever publishes it has taken every key back, and that counts."""
    assert read(b'{"keys":[]}') == ()


@pytest.mark.parametrize("disclosed", [{"d": "AA"}, {"kty": "oct", "k": "AA"}])
async def test_a_set_that_holds_private_keys_ends_those_that_were_kept(disclosed: dict[str, Any]) -> None:
    """Its keys are known to everybody now, so nothing is verified with them any more."""
    directory = Directory("a")
    await directory.sets.keys(URL, "a")
    body = json.dumps({"keys": [{**key("a").as_dict(private=False), **disclosed}]}).encode()
    directory.fail(body)
    directory.clock.advance(300)

    with pytest.raises(KeysUnavailable, match="private"):
        await directory.sets.keys(URL, "a")
    with pytest.raises(Disclosed):
        read(body)


async def test_only_so_many_sets_are_kept() -> None:
    """The one used longest ago makes room, by number and by bytes."""
    urls = [f"https://client{at}.example/jwks" for at in range(3)]
    size = len(document("a"))
    for settings in ({"sets": 2}, {"bytes": 2 * size}):
        documents = Documents(dict.fromkeys(urls, document("a")))
        sets = KeySets(documents, FrozenClock(), KeySetCaching(**settings))
        for url in (urls[0], urls[1], urls[0], urls[2], urls[0], urls[1]):
            await sets.keys(url, "a")

        assert documents.fetched == [urls[0], urls[1], urls[2], urls[1]]


async def test_a_served_application_has_them() -> None:
    """The registry's key sets go through the fetcher that a test gives, by the clock that it holds."""
    documents = Documents({URL: document("a")})
    async with served(f"{OPEN}\n[server.key_sets]\nfresh_seconds = 60", fetch=documents) as server:
        for seconds in (0, 59, 1):
            server.clock.advance(seconds)
            assert kids(await server.registry.key_sets.keys(URL)) == ["a"]

    assert documents.fetched == [URL, URL]


# --- verifications -----------------------------------------------------------------------------------------------------


def signed(name: str, **claims: Any) -> jws.UnverifiedJWS:
    """A JWS by a key."""
    return jws.read(jose.serialize_compact({"alg": "ES256", "kid": name}, json.dumps(claims).encode(), key(name)))


def key_set(*names: str) -> KeySet:
    """A set as it is fetched."""
    return read(document(*names))


def test_what_was_verified_is_remembered() -> None:
    """The very same answer comes back, without a second verification."""
    clock = FrozenClock()
    verifications, presented = Verifications(clock), signed("a", exp=clock.now + 60)
    first = verifications.verify(presented, key_set("a"), ["ES256"])

    assert verifications.verify(jws.read(presented.compact), key_set("a"), ["ES256"]) is first
    clock.advance(60)
    assert verifications.verify(presented, key_set("a"), ["ES256"]) is not first


def test_a_key_that_was_taken_back_ends_what_it_verified() -> None:
    """A verification counts for the set that it was made with, and for no other."""
    clock = FrozenClock()
    verifications, presented = Verifications(clock), signed("a", exp=clock.now + 60)
    verifications.verify(presented, key_set("a", "b"), ["ES256"])

    with pytest.raises(jws.UnknownKey):
        verifications.verify(presented, key_set("b"), ["ES256"])
    replaced = {**key("b").as_dict(private=False), "kid": "a"}
    with pytest.raises(jws.Refused, match="signature"):
        verifications.verify(presented, KeySet([replaced]), ["ES256"])


def test_a_verification_counts_for_the_algorithms_that_were_allowed() -> None:
    """Another caller who does not allow the algorithm is not answered from memory."""
    clock = FrozenClock()
    verifications, presented = Verifications(clock), signed("a", exp=clock.now + 60)
    verifications.verify(presented, key_set("a"), ["ES256"])

    with pytest.raises(jws.Refused, match="alg"):
        verifications.verify(presented, key_set("a"), ["PS256"])


def test_what_has_no_end_is_not_remembered() -> None:
    """Without exp, with an exp that is none, past it, or longer than what is kept."""
    clock = FrozenClock()
    verifications = Verifications(clock)
    for claims in ({}, {"exp": "soon"}, {"exp": clock.now}, {"exp": clock.now + 60, "pad": "x" * 9_000}):
        presented = signed("a", **claims)
        first = verifications.verify(presented, key_set("a"), ["ES256"])
        assert verifications.verify(presented, key_set("a"), ["ES256"]) is not first


def test_only_so_many_verifications_are_kept() -> None:
    """The one used longest ago makes room."""
    clock = FrozenClock()
    verifications, keys = Verifications(clock, most=2), key_set("a")
    presented = [signed("a", exp=clock.now + 60, jti=at) for at in range(3)]
    first, second = (verifications.verify(one, keys, ["ES256"]) for one in presented[:2])
    verifications.verify(presented[0], keys, ["ES256"])
    verifications.verify(presented[2], keys, ["ES256"])

    assert verifications.verify(presented[0], keys, ["ES256"]) is first
    assert verifications.verify(presented[1], keys, ["ES256"]) is not second
