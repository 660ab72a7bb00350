-- Whatever is put, found, replaced and taken away by its key. The rows of a client or a person are found by them.

CREATE TABLE item (
    issuer TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (issuer, kind, key)
);

CREATE INDEX item_of_client ON item (issuer, client_id, kind) WHERE client_id <> '';
CREATE INDEX item_of_owner ON item (issuer, owner, kind) WHERE owner <> '';
CREATE INDEX item_expiring ON item (expires_at) WHERE expires_at <> 0;

-- An instance refers to its template; what it has from there is not stored with it.
ALTER TABLE client ADD COLUMN template TEXT NOT NULL DEFAULT '';
CREATE INDEX client_of_template ON client (issuer, template, client_id) WHERE template <> '';
