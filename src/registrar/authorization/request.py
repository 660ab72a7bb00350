"""An authorization request: what was asked for (presented), and what was checked against the client (judged)."""

from __future__ import annotations

from typing import Any, NewType

import msgspec

PresentedRequest = NewType("PresentedRequest", dict[str, str])
"""The parameters of an authorization request, each at most once; nothing else is known of them (RFC 6749 §3.1)."""


class AuthorizationRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request that its client may make: redirect URI, response type, scope and the rest have been checked.

    Made by `read` alone; kept as an item while a person signs in and decides.
    """

    issuer: str
    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    """Whether the request named it; then the token request has to name it too (RFC 6749 §4.1.3)."""
    response_type: str
    response_mode: str
    """`query`, `fragment`, `form_post`, or one of JARM's (`jwt`, `query.jwt`, `fragment.jwt`, `form_post.jwt`)."""
    scope: tuple[str, ...]
    """Asked for and registered; what is left of the request."""
    state: str | None = None
    nonce: str | None = None
    code_challenge: str | None = None
    code_challenge_method: str | None = None
    resource: tuple[str, ...] = ()
    """RFC 8707: absolute URIs that are configured resources of the issuer."""
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    """Of the request, or the registered `default_max_age`."""
    acr_values: tuple[str, ...] = ()
    login_hint: str | None = None
    hinted_subject: str | None = None
    """The `sub` of a verified `id_token_hint`."""
    ui_locales: tuple[str, ...] = ()
    claims: dict[str, Any] | None = None
    authorization_details: list[dict[str, Any]] | None = None
    dpop_jkt: str | None = None
    pushed: bool = False


class Authentication(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who signed in, when and how: what a session proves."""

    subject: str
    """The person's identifier here, the same at every client; `subject.for_client` makes what a client sees."""
    time: int
    """Seconds since 1970 (`auth_time`)."""
    session_id: str
    acr: str = ""
    amr: tuple[str, ...] = ()
