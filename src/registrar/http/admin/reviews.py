"""Routes of what is held until somebody decides."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import asdict

from registrar.domain.client import ShownClient
from registrar.http import answers
from registrar.http.admin.bodies import Why, read
from registrar.http.admin.call import Call, Row
from registrar.http.admin.pages import PAGED, limit_of
from registrar.service import inventory, review
from registrar.service.review import ShownReview


class Decided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision about what is held."""

    digest: str
    """Of what was looked at: nothing else is decided about."""
    reason: Why = ""
    """Why; it goes into the audit."""


async def _list_reviews(call: Call) -> answers.Reviews:
    rows, looked, limit = list[answers.HeldRow](), 0, limit_of(call)
    async for one, client in review.every(call.registry, call.issuer, call.query.get("after", "")):
        looked += 1
        if client is not None and call.token.within.items() <= client.labels.items():
            rows.append(
                answers.HeldRow(
                    client_id=one.client_id, what=one.what, digest=one.digest, since=one.since, reason=one.why
                )
            )
        if len(rows) == limit or looked == inventory.LOOKS:  # a page ends there, full or not
            return answers.Reviews(reviews=rows, after=one.client_id)
    return answers.Reviews(reviews=rows)


async def _show_review(call: Call) -> ShownReview:
    return await review.show(call.registry, call.issuer, call.name)


async def _approve(call: Call) -> answers.ChangedClient:
    asked = read(call, Decided)
    after, secret = await review.approve(*call.acting, call.name, digest=asked.digest, reason=asked.reason)
    return answers.ChangedClient(**asdict(after.public()), client_secret=secret)


async def _reject(call: Call) -> ShownClient:
    asked = read(call, Decided)
    rejected = await review.reject(*call.acting, call.name, digest=asked.digest, reason=asked.reason)
    return rejected.public()


ROUTES: Final = (
    Row("GET", "reviews", "admin.reviews", _list_reviews, confined=True, asks=PAGED),
    Row("GET", "reviews/{}", "admin.reviews", _show_review, confined=True, of_client=True),
    Row("POST", "reviews/{}/approve", "admin.reviews", _approve, takes=Decided, confined=True, of_client=True),
    Row("POST", "reviews/{}/reject", "admin.reviews", _reject, takes=Decided, confined=True, of_client=True),
)
