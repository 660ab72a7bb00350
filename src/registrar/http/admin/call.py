"""A call of the administration API, and the row of the table of routes that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from registrar.domain.access_token import InitialAccessToken
from registrar.domain.errors import BearerError
from registrar.http.answers import Given
from registrar.service.operators import Operator
from registrar.service.registry import Issuer, Registry


class Call(NamedTuple):
    """One call: where, by whom, about what, and what came with it."""

    registry: Registry
    issuer: Issuer
    operator: Operator
    token: InitialAccessToken
    name: str
    """The segment of the path that is a name; empty where the route has none."""
    body: dict[str, Any]
    query: Mapping[str, str]
    seen: tuple[str, ...] | None = None
    """The entity tags of which one has to be there (RFC 9110 §13.1.1); None where anything may."""

    @property
    def acting(self) -> tuple[Registry, Issuer, Operator]:
        """The first arguments of an act."""
        return self.registry, self.issuer, self.operator

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self.registry.clock() // 1000

    def labels_within(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Labels that are asked for, and those of the token beside them.

        Who asks for another tenant's is refused: to answer with their own instead would let a job for those others, which
        finds nothing, run over everything that is theirs.

        Raises:
            BearerError: `insufficient_scope`; they contradict each other.
        """
        if not self.token.within.items() <= {**self.token.within, **asked}.items():
            raise BearerError("insufficient_scope", "This token administers within labels, and these are others.")
        return {**asked, **self.token.within}


Act = Callable[[Call], Awaitable[Given]]
"""What it gives is what its annotation says: `openapi` describes that, with the status of `answers`."""


class Row(NamedTuple):
    """A route: method, path below that of the API with `{}` for a name, the scope that opens it, and what it does."""

    method: str
    path: str
    scope: str
    act: Act
    takes: type[msgspec.Struct] | None = None
    """The body, where it has one; client metadata where it is `Metadata`."""
    confined: bool = False
    """Whether a token that administers within labels may call it: what it does keeps within them."""
    of_client: bool = False
    """Whether the name is a client's, which then has to be within the labels of the token."""
    asks: tuple[str, ...] = ()
    """The parameters of the query."""
    conditional: bool = False
    """Whether it asks what is there, by `If-Match`."""
