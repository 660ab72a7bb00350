"""Routes of webhooks: how they are, and what is sent again."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from registrar.domain.errors import ProtocolError
from registrar.http import answers
from registrar.http.admin.bodies import LATEST, Reason, read
from registrar.http.admin.call import Call, Row
from registrar.http.admin.pages import PAGED, page
from registrar.service import webhooks
from registrar.service.webhooks import ShownWebhook, Trial


class ReplayWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages are sent again."""

    ids: list[str] = []
    """Those of these identifiers, out of the log."""
    since: Annotated[int, msgspec.Meta(ge=0, le=LATEST)] = 0
    """Those of events from this time on, in seconds since 1970."""
    until: Annotated[int, msgspec.Meta(ge=0, le=LATEST)] = 0
    """And before this time; now by default."""
    given_up: bool = False
    """Those that were given up."""


async def _list_webhooks(call: Call) -> answers.Webhooks:
    names = sorted(call.registry.webhooks.of(call.issuer.name))
    rows = [await webhooks.public(call.registry, call.issuer, name) for name in names]
    return answers.Webhooks(webhooks=rows)


async def _show_webhook(call: Call) -> ShownWebhook:
    return await webhooks.public(call.registry, call.issuer, call.name)


async def _list_given_up(call: Call) -> answers.Messages:
    found = webhooks.given_up(call.registry, call.issuer, call.name, call.query.get("after", ""))
    rows, after = await page(call, "key", found)
    return answers.Messages(messages=rows, after=after)


async def _replay_webhook(call: Call) -> answers.Replayed:
    asked = read(call, ReplayWanted)
    if bool(asked.ids) + asked.given_up + bool(asked.since) != 1:
        raise ProtocolError("invalid_request", "One of ids, since and given_up says what is sent again.")
    acting = (*call.acting, call.name)
    if asked.given_up:
        count = await webhooks.replay_given_up(*acting)
    elif asked.ids:
        count = await webhooks.replay_named(*acting, asked.ids)
    else:
        count = await webhooks.replay(*acting, since_ms=asked.since * 1000, until_ms=asked.until * 1000)
    return answers.Replayed(webhook=call.name, replayed=count)


async def _try_webhook(call: Call) -> Trial:
    return await webhooks.try_out(call.registry, call.issuer, call.name)


async def _enable_webhook(call: Call) -> ShownWebhook:
    await webhooks.enable(*call.acting, call.name, read(call, Reason).reason)
    return await webhooks.public(call.registry, call.issuer, call.name)


ROUTES: Final = (
    Row("GET", "webhooks", "admin.webhooks", _list_webhooks),
    Row("GET", "webhooks/{}", "admin.webhooks", _show_webhook),
    Row("GET", "webhooks/{}/given-up", "admin.webhooks", _list_given_up, asks=PAGED),
    Row("POST", "webhooks/{}/replay", "admin.webhooks", _replay_webhook, takes=ReplayWanted),
    Row("POST", "webhooks/{}/test", "admin.webhooks", _try_webhook),
    Row("POST", "webhooks/{}/enable", "admin.webhooks", _enable_webhook, takes=Reason),
)
