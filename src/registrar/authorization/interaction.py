"""What a browser is in the middle of: an authorization request that waits for a person, or a page that wants a sign-in.

Kept as an item for half an hour, found by a random identifier in the pages' addresses, and good in one browser alone.
What has to happen next is decided by `next_step`, from the request, the session and the consent: the order is that of
OpenID Connect Core §3.1.2.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from registrar.authorization.request import AuthorizationRequest
from registrar.authorization.sessions import Session
from registrar.domain import credentials
from registrar.service.ports import Drop, Item, Put
from registrar.service.registry import Issuer, Registry

KIND: Final = "interaction"
"""What these are called among the items of a store; the key is the digest of the identifier."""

LIFETIME: Final = 1_800
"""Seconds that a person has, to find their password too."""


class Interaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that waits for a person in one browser."""

    browser: str
    """The digest of what this browser's cookie holds."""
    request: AuthorizationRequest | None = None
    page: str = ""
    """Where there is no request: the page that wants a sign-in, `account` or `device`."""
    user_code: str = ""
    """What the person typed there, or followed a link with (RFC 8628 §3.3)."""
    signed_in: bool = False
    """Whether they signed in since it began."""
    chosen: bool = False
    """Whether they said which of their accounts it is for."""


class Step(enum.StrEnum):
    """What comes next."""

    SIGN_IN = "sign_in"
    SELECT = "select"
    CONSENT = "consent"
    ALLOW = "allow"


class Waiting(msgspec.Struct, frozen=True):
    """An interaction and the item that holds it."""

    identifier: str
    interaction: Interaction
    item: Item


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Interaction).decode


def next_step(
    interaction: Interaction, session: Session | None, *, same_person: bool, consented: bool, now: int
) -> Step:
    """What has to happen before the request is allowed.

    Args:
        interaction: the request, and what happened since it came.
        session: the sign-in of this browser, if there is one.
        same_person: whether the session is of the person that an `id_token_hint` names; True where there is no hint.
        consented: whether the person need not be asked.
        now: seconds since 1970.
    """
    request = interaction.request
    prompt = request.prompt if request else ()
    if session is None or not same_person:
        return Step.SIGN_IN
    if not interaction.signed_in:
        max_age = request.max_age if request else None
        if "login" in prompt or (max_age is not None and now - session.auth_time > max_age):
            return Step.SIGN_IN
        if "select_account" in prompt and not interaction.chosen:
            return Step.SELECT
    if request is None or (consented and "consent" not in prompt):
        return Step.ALLOW
    return Step.CONSENT


SILENT: Final = {
    Step.SIGN_IN: "login_required",
    Step.CONSENT: "consent_required",
}
"""The error where nothing may be shown, `prompt=none`, beside which no other prompt stands (OpenID Connect Core §3.1.2.6)."""


async def begin(registry: Registry, issuer: Issuer, interaction: Interaction) -> Waiting:
    """Keep what a browser has begun.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    identifier = credentials.token(registry.entropy(credentials.TOKEN_BYTES))
    request = interaction.request
    item = Item(
        issuer.name,
        KIND,
        credentials.digest(identifier).hex(),
        _encode(interaction),
        client_id=request.client_id if request else "",
        expires_at=registry.clock() // 1000 + LIFETIME,
    )
    await registry.store.change([Put(item, expected=0)])
    return Waiting(identifier, interaction, item)


async def find(registry: Registry, issuer: Issuer, identifier: str, browser: str) -> Waiting | None:
    """What waits under an identifier, if this is the browser in which it began.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    item = await registry.store.item(issuer.name, KIND, credentials.digest(identifier).hex())
    if item is None or not item.lives(registry.clock() // 1000):
        return None
    interaction = _decode(item.body)
    if not credentials.same(interaction.browser.encode(), of_browser(browser).encode()):
        return None
    return Waiting(identifier, interaction, item)


async def changed(registry: Registry, waiting: Waiting, **values: bool | str) -> Waiting:
    """Write down what happened.

    Raises:
        Conflict: something happened in another tab at the same moment.
        StoreUnavailable: the store does not answer.
    """
    interaction = msgspec.structs.replace(waiting.interaction, **values)
    item = msgspec.structs.replace(waiting.item, body=_encode(interaction), version=waiting.item.version + 1)
    await registry.store.change([Put(item, expected=waiting.item.version)])
    return Waiting(waiting.identifier, interaction, item)


def over(waiting: Waiting) -> Drop:
    """The change that ends it; of two decisions about the same request, one counts."""
    item = waiting.item
    return Drop(item.issuer, KIND, item.key, expected=item.version)


def of_browser(browser: str) -> str:
    """What is kept of a browser's cookie."""
    return credentials.digest(browser).hex()
