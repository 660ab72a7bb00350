"""The statements that write."""

from __future__ import annotations

from typing import Final

from registrar.domain.terms import TOMBSTONE
from registrar.service.ports import TALLY
from registrar.storage.sqlite.queries import ITEM_COLUMNS

INSERT_CLIENT: Final = (
    "INSERT INTO client (issuer, client_id, version, state, owner, token_id, template, due_at, record) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE_CLIENT: Final = (
    "UPDATE client SET version = ?, state = ?, owner = ?, due_at = ?, record = ? "
    "WHERE issuer = ? AND client_id = ? AND version = ?"
)
INSERT_TERM: Final = "INSERT OR IGNORE INTO client_term (issuer, term, client_id) VALUES (?, ?, ?)"
DELETE_TERM: Final = "DELETE FROM client_term WHERE issuer = ? AND term = ? AND client_id = ?"
INSERT_EVENT: Final = "INSERT INTO event (writer, batch, position, issuer, kind, time_ms, client_id, body, personal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_BATCH: Final = "INSERT INTO audit_batch (writer, number, events, root, link, place) VALUES (?, ?, ?, ?, ?, ?)"
ERASE_EVENT: Final = "DELETE FROM event WHERE sequence = ?"
ERASE_PERSONAL: Final = "UPDATE event SET personal = x'' WHERE sequence = ?"
LOOK: Final = "UPDATE client SET due_at = ?3 WHERE issuer = ?1 AND client_id = ?2 AND due_at = ?4"
# Places and numbers rise together, so a run of batches is one statement, however long it is.
PLACE: Final = "UPDATE audit_batch SET place = number - ?2 + ?3 WHERE writer = ?1 AND number >= ?2 AND number < ?2 + ?4 AND place = 0"
CLAIM: Final = (
    "UPDATE initial_access_token SET uses = uses + 1 WHERE issuer = ? AND digest = ? AND revoked_at = 0 "
    "AND (max_uses = 0 OR uses < max_uses) AND (expires_at = 0 OR expires_at > ?)"
)
_ITEM_VALUES: Final = "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
PUT_ITEM: Final = (
    f"INSERT INTO item ({ITEM_COLUMNS}) {_ITEM_VALUES} ON CONFLICT (issuer, kind, key) DO UPDATE SET body = excluded.body, "
    "version = excluded.version, client_id = excluded.client_id, owner = excluded.owner, expires_at = excluded.expires_at"
)
PUT_NEW_ITEM: Final = f"{PUT_ITEM} WHERE item.expires_at <> 0 AND item.expires_at <= ?"
_AT_VERSION: Final = "WHERE issuer = ? AND kind = ? AND key = ? AND version = ?"
# SQLite writes an index anew where a statement sets a column of it, be it to what it was: whose an item is changes rarely.
RENEW_ITEM: Final = (
    f"UPDATE item SET body = ?, version = ?, expires_at = ? {_AT_VERSION} AND client_id = ? AND owner = ?"  # noqa: S608 (words of our own)
)
REPLACE_ITEM: Final = f"UPDATE item SET body = ?, version = ?, expires_at = ?, client_id = ?, owner = ? {_AT_VERSION}"  # noqa: S608 (words of our own)
DROP_ITEM: Final = "DELETE FROM item WHERE issuer = ? AND kind = ? AND key = ?"
PURGE: Final = (
    "DELETE FROM item WHERE rowid IN (SELECT rowid FROM item WHERE expires_at <> 0 AND expires_at <= ? LIMIT ?)"
)
_AT_TALLY: Final = f"WHERE issuer = ?1 AND kind = '{TALLY}' AND key = '{TALLY}'"
LIVING: Final = f"SELECT version FROM item {_AT_TALLY}"  # noqa: S608 (words of our own)
COUNTED: Final = f"UPDATE item SET version = ?2 {_AT_TALLY}"  # noqa: S608 (words of our own)
COUNT_OFF: Final = f"UPDATE item SET version = version - 1 {_AT_TALLY}"  # noqa: S608 (words of our own)
ADVANCE: Final = (
    f"INSERT INTO item ({ITEM_COLUMNS}) SELECT ?1, ?2, ?3, x'', 1, '', '', 0 WHERE ?4 >= 1 "
    "ON CONFLICT (issuer, kind, key) DO UPDATE SET version = version + 1 WHERE version < ?4"
)
RETREAT: Final = "UPDATE item SET version = version - 1 WHERE issuer = ? AND kind = ? AND key = ?"
DROP_UNMADE: Final = f"{DROP_ITEM} AND version = 0"
# Both numbers are read from indexes alone: every tombstone has this term.
COUNT_ALL: Final = (
    f"INSERT INTO item ({ITEM_COLUMNS}) SELECT ?1, '{TALLY}', '{TALLY}', x'', "  # noqa: S608 (words of our own)
    "(SELECT count(*) FROM client WHERE issuer = ?1) + 1 - "
    f"(SELECT count(*) FROM client_term WHERE issuer = ?1 AND term = '{TOMBSTONE}'), '', '', 0"
)
