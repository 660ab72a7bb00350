"""`[webhook.NAME]`: who is told of events."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from registrar.config.issuers import check_secret_file
from registrar.config.tables import NAME, built
from registrar.domain import uri as grammar
from registrar.domain import webhook as messages
from registrar.domain.settings import Server, Webhook
from registrar.policy.document import Document
from registrar.service.delivery import NoKeys, read_keys


def webhook(name: str, table: Any, document: Document, issuers: Iterable[str], server: Server) -> Webhook:
    """The settings of a webhook.

    Raises:
        ConfigurationError: naming file, line and what would be accepted.
    """
    at = ("webhook", name)
    if not NAME.fullmatch(name) or not isinstance(table, dict):
        raise document.error("a webhook is a table with a name of 1 to 32 lower-case letters, digits, - and _", *at)
    for key in ("name", "kinds"):
        if key in table:
            raise document.error(f"unknown setting {key}", *at, key)
    found: Webhook = built(Webhook, table, document, at, name=name)
    _check_url(found, document, server)
    if not found.secret_file:
        raise document.error("needs secret_file, the keys that sign what is sent", *at)
    check_secret_file(found.secret_file, document, *at, "secret_file")
    try:
        read_keys(found)
    except NoKeys as problem:
        raise document.error(str(problem), *at, "secret_file") from None
    known = tuple(issuers)
    for issuer in found.issuers:
        if issuer not in known:
            raise document.error(f"there is no issuer {issuer}; these are: {', '.join(known)}", *at, "issuers")
    for key in ("seconds", "at_once", "keep_given_up"):
        if getattr(found, key) <= 0:
            raise document.error("is more than 0", *at, key)
    try:
        return dataclasses.replace(found, kinds=messages.kinds(found.events))
    except ValueError as problem:
        raise document.error(
            f"no event is called {problem}; docs/reference/events.md lists them", *at, "events"
        ) from None


def _check_url(found: Webhook, document: Document, server: Server) -> None:
    at = ("webhook", found.name, "url")
    parts = None if grammar.odd_character(found.url) else grammar.split(found.url)
    if parts is None or parts.scheme not in ("https", "http") or not parts.authority or parts.fragment is not None:
        raise document.error("needs to be an https URL without a fragment", *at[:-1], *([at[-1]] if found.url else []))
    if "@" in parts.authority:
        raise document.error("holds user information; the signature is what proves the sender", *at)
    allowed = {grammar.origin_of(origin) for origin in server.fetch.allow}
    if parts.scheme != "https" and grammar.origin_of(found.url) not in allowed:
        raise document.error("needs to be https, or an origin that server.fetch.allow names", *at)
