"""The statements that read: those that are always the same, and those that are built for what is asked."""

from __future__ import annotations

from typing import Any, Final

from registrar.domain import template
from registrar.service import last_use
from registrar.service.ports import ClientQuery

FEW: Final = 1_000
"""Rows of an index that are counted on the loop; what may be more is counted beside it."""
# The template comes with the instance, in one statement: the two are of one moment.
_OF_TEMPLATE: Final = (
    "LEFT JOIN item ON client.template <> '' AND item.issuer = client.issuer "
    f"AND item.kind = '{template.KIND}' AND item.key = client.template"
)
CLIENTS: Final = f"SELECT client.record, item.body FROM client {_OF_TEMPLATE}"  # noqa: S608 (words of our own)
# The state of an instance is the template's to end: where that is deleted or gone, so is the instance.
_STATE: Final = (
    "iif(client.template <> '' AND ifnull(json_extract(CAST(item.body AS TEXT), '$.state'), 'deleted') = 'deleted', "
    "'deleted', client.state)"
)
DUE: Final = (
    "SELECT client.issuer, client.client_id, client.due_at, client.record, item.body, used.body, used.version "  # noqa: S608 (as above)
    f"FROM client {_OF_TEMPLATE} "
    f"LEFT JOIN item AS used ON used.issuer = client.issuer AND used.kind = '{last_use.KIND}' AND used.key = client.client_id "
    "WHERE client.due_at <> 0 AND client.due_at <= ? ORDER BY client.due_at LIMIT ?"
)
# Of one moment too, and for a client of its own without a look at the templates: 5 microseconds, where a join takes 11.
FIND_CLIENT: Final = (
    "SELECT record, CASE template WHEN '' THEN NULL ELSE (SELECT body FROM item WHERE item.issuer = client.issuer "  # noqa: S608 (as above)
    f"AND kind = '{template.KIND}' AND key = client.template) END FROM client WHERE issuer = ? AND client_id = ?"
)
FEW_OF_TERM: Final = f"SELECT count(*) FROM (SELECT 1 FROM client_term WHERE issuer = ? AND term = ? LIMIT {FEW})"  # noqa: S608 (a number of our own)
ITEM_COLUMNS: Final = "issuer, kind, key, body, version, client_id, owner, expires_at"
FIND_TOKENS: Final = "SELECT record, uses, revoked_at FROM initial_access_token"
EVENTS: Final = "SELECT sequence, writer, batch, position, issuer, kind, time_ms, client_id, body, personal FROM event"
BATCHES: Final = "SELECT writer, number, events, root, link, place FROM audit_batch"
# No index leads to the events of a writer: where there is none from before chains, no event is looked at.
UNCHAINED: Final = (
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM audit_unchained) "
    "THEN (SELECT count(*) FROM event JOIN audit_unchained ON audit_unchained.writer = event.writer) ELSE 0 END"
)
EVENT_TALLY: Final = (
    f"SELECT (SELECT count(*) FROM event), (SELECT coalesce(sum(events), 0) FROM audit_batch), ({UNCHAINED})"  # noqa: S608 (words of our own)
)
# The index has the first event of each batch; the others come after it in the sequence.
TOLD: Final = (
    "SELECT one.sequence, one.writer, one.batch, one.position, one.issuer, one.kind, one.time_ms, one.client_id, one.body, "
    "one.personal FROM event AS first JOIN audit_batch AS held ON held.writer = first.writer AND held.number = first.batch "
    "JOIN event AS one ON one.sequence BETWEEN first.sequence AND first.sequence + held.events - 1 "
    "WHERE first.writer = ? AND first.batch BETWEEN ? AND ? AND first.position = 0 ORDER BY first.batch, one.position"
)


def matching(columns: dict[str, str | None]) -> tuple[str, tuple[str, ...]]:
    """Rows that have these values in these columns, wherever one is given: further conditions, and their values."""
    given = {name: value for name, value in columns.items() if value is not None}
    return "".join(f" AND {name} = ?" for name in given), tuple(given.values())


def whose(client_id: str, owner: str, kind: str = "") -> tuple[str, tuple[str, ...]]:
    """Items of a client, a person, a kind, each where one is named.

    That the name is not empty is said to the planner: the indexes have no others, and it must know that they will do.
    """
    named = {"client_id": client_id, "owner": owner}
    where, values = matching({name: value or None for name, value in {**named, "kind": kind}.items()})
    return where + "".join(f" AND {name} <> ''" for name, value in named.items() if value), values


def is_found(query: ClientQuery) -> bool:
    """Whether the clients that a query asks for stand beside each other in one index, with few others between them."""
    asked = [*query.terms, *([query.template] if query.template else [])]
    rest = (query.owner, query.token_id, None if asked else query.state)
    return len(asked) < 2 and not any(rest)  # noqa: PLR2004 (one)


def listing(query: ClientQuery, after: tuple[str, str], limit: int) -> tuple[str, tuple[Any, ...]]:
    """The statement that finds a page of clients, and its values."""
    source, where, values = _of_clients(query)
    after, (sign, way) = query.place(after), ("<", " DESC") if query.newest else (">", "")
    place, seen = f"(client.issuer, client.client_id) {sign} (?, ?)", [*after]
    if query.issuer == after[0]:
        # The index is then entered at this place; a row value would be compared from the issuer's beginning on.
        place, seen = f"client.client_id {sign} ?", [after[1]]
    order = f"client.issuer{way}, client.client_id{way}"
    if query.indexed:
        place, order = place.replace("client.", "t0."), f"t0.client_id{way}"
    sql = f"{CLIENTS.replace('FROM client', f'FROM {source}')} WHERE {place}{where} ORDER BY {order} LIMIT ?"
    return sql, (*seen, *values, limit)


def counting(query: ClientQuery, most: int) -> tuple[str, tuple[Any, ...]]:
    """The statement that counts clients, to `most` where that is not 0, and its values."""
    source, where, values = _of_clients(query)
    if query.state:
        source += CLIENTS.partition(" FROM client")[2]
    elif query.indexed and not (query.owner or query.token_id or query.template):
        named, where, values = _of_terms(query)
        source = " CROSS JOIN ".join(named)  # whoever has a term is a client, and need not be looked at
    found = f"SELECT 1 FROM {source} WHERE 1{where} LIMIT {most or -1:d}"  # noqa: S608 (as above)
    return f"SELECT count(*) FROM ({found})", values  # noqa: S608 (as above)


def _of_clients(query: ClientQuery) -> tuple[str, str, tuple[str, ...]]:
    """Where the clients are that a query asks for, its conditions, and their values."""
    where, values = matching(
        {
            "client.issuer": query.issuer,
            _STATE: query.state,
            "client.owner": query.owner,
            "client.token_id": query.token_id,
            "client.template": query.template,
        }
    )
    if query.template:
        # The index of instances has no clients of their own in it, and is used only where the statement says so too.
        where += " AND client.template <> ''"
    if not query.indexed:
        limits, bounds = _within(query, "client")
        return "client", where + limits, (*values, *bounds)
    named, of_terms, more = _of_terms(query)
    where += f"{of_terms} AND client.issuer = t0.issuer AND client.client_id = t0.client_id"
    # CROSS JOIN keeps this order: the terms are read, and the client of each is looked at.
    return " CROSS JOIN ".join([*named, "client"]), where, (*values, *more)


def _of_terms(query: ClientQuery) -> tuple[list[str], str, tuple[str, ...]]:
    """Where the terms of a query are, what has to hold for them, and the values."""
    named = [f"t{at}" for at in range(len(query.indexed))]
    where = "".join(f" AND {one}.issuer = ? AND {one}.term = ?" for one in named)
    where += "".join(f" AND {one}.client_id = t0.client_id" for one in named[1:])
    limits, bounds = _within(query, "t0")
    values = [value for one in query.indexed for value in (query.issuer or "", one)]
    return [f"client_term AS {one}" for one in named], where + limits, (*values, *bounds)


def _within(query: ClientQuery, source: str) -> tuple[str, tuple[str, ...]]:
    """The times between which clients were registered, which their identifiers begin with."""
    used = [(sign, bound) for sign, bound in zip((">=", "<"), query.bounds, strict=True) if bound]
    return "".join(f" AND {source}.client_id {sign} ?" for sign, _ in used), tuple(bound for _, bound in used)
