"""Pictures of others: asked for once, kept for a while, and failures too."""

from __future__ import annotations

import asyncio

import pytest

from registrar.service.pictures import AGAIN, FRESH, KEPT, Pictures
from registrar.service.ports import Fetched, FetchError
from registrar.testing import Documents

pytestmark = pytest.mark.anyio

NOW = 1_790_000_000
URL = "https://app.example/logo.png"


async def test_a_picture_is_asked_for_once() -> None:
    """Whoever looks at it, and however many at the same moment; an hour later it is asked for anew."""
    documents, pictures = Documents({URL: Fetched(URL, "image/png", b"\x89PNG")}), Pictures()
    found = await asyncio.gather(*(pictures.find(documents, URL, NOW) for _ in range(20)))
    assert {one.body for one in found} == {b"\x89PNG"}
    await pictures.find(documents, URL, NOW + FRESH - 1)
    assert documents.fetched == [URL]
    await pictures.find(documents, URL, NOW + FRESH)
    assert documents.fetched == [URL, URL]


async def test_a_failure_is_kept_for_a_moment() -> None:
    """A place that does not answer is not asked by every look at a page."""
    documents, pictures = Documents(), Pictures()
    for _ in range(3):
        with pytest.raises(FetchError, match="404"):
            await pictures.find(documents, URL, NOW)
    assert documents.fetched == [URL]
    documents.documents[URL] = Fetched(URL, "image/png", b"\x89PNG")
    assert (await pictures.find(documents, URL, NOW + AGAIN)).body == b"\x89PNG"


async def test_only_so_many_are_kept() -> None:
    """The one that was fetched first makes room."""
    urls = [f"{URL}?{number}" for number in range(KEPT + 1)]
    documents = Documents({url: Fetched(url, "image/png", b"x") for url in urls})
    pictures = Pictures()
    for url in urls:
        await pictures.find(documents, url, NOW)
    await pictures.find(documents, urls[-1], NOW)
    assert len(documents.fetched) == KEPT + 1
    await pictures.find(documents, urls[0], NOW)
    assert len(documents.fetched) == KEPT + 2
