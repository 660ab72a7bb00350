"""Client assertions (RFC 7523 §2.2, OpenID Connect Core §9): a client proves itself with a statement that it signs."""

from __future__ import annotations

from registrar.authorization.call import Parameters


def subject(given: Parameters) -> str:
    """The client that an assertion speaks of, before anything of it is believed."""
    return given.get("client_id", "")
