"""The table of routes, and which of them a path is."""

from __future__ import annotations

from typing import Final

from registrar.domain.errors import ProtocolError
from registrar.http.admin import clients, jobs, policies, reviews, statements, templates, tokens, webhooks
from registrar.http.admin.call import Row

ROUTES: Final = (
    *policies.ROUTES,
    *templates.ROUTES,
    *statements.ROUTES,
    *tokens.ROUTES,
    *webhooks.ROUTES,
    *reviews.ROUTES,
    *clients.ROUTES,
    *jobs.ROUTES,
)
"""Every route; the documentation and the tests read it."""
METHODS: Final = tuple(dict.fromkeys(row.method for row in ROUTES))


def row_of(method: str, path: str) -> tuple[Row, str]:
    """The route of a path, and the name in it.

    Raises:
        ProtocolError: `not_found`, or `method_not_allowed`.
    """
    segments = path.split("/")
    found: dict[str, tuple[Row, str]] = {}
    for row in ROUTES:
        pattern = row.path.split("/")
        if len(pattern) == len(segments) and all(
            one == other or (one == "{}" and other) for one, other in zip(pattern, segments, strict=True)
        ):
            found[row.method] = (row, segments[1] if len(segments) > 1 else "")
    if not found:
        raise ProtocolError("not_found")
    if method not in found:
        raise ProtocolError("method_not_allowed", headers=[(b"allow", ", ".join(found).encode())])
    return found[method]
