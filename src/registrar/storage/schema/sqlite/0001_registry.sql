-- The registry. Every table is keyed by the issuer's configured name first, so that no query reaches across issuers.
-- Identifiers begin with their time, so that the indexes grow at one end (rowid tables on purpose: the rows are large).

CREATE TABLE client (
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    token_id TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (issuer, client_id)
);

-- The counted columns live outside the record: a use is claimed by one UPDATE that either finds one left or does not.
CREATE TABLE initial_access_token (
    issuer TEXT NOT NULL,
    token_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    max_uses INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (issuer, token_id),
    UNIQUE (issuer, digest)
);

CREATE TABLE signing_key (
    issuer TEXT NOT NULL,
    kid TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (issuer, kid),
    UNIQUE (issuer, algorithm)
);

-- writer, batch and position are the event's place in the chain of the process that wrote it.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    writer TEXT NOT NULL,
    batch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    issuer TEXT NOT NULL,
    kind TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    body BLOB NOT NULL,
    personal BLOB NOT NULL
);
