-- The registry. Every table is keyed by the issuer's configured name first, so that no query reaches across issuers.
-- Text is ordered by code points ("C"), as everywhere else in the registry. Nothing here counts: identifiers begin with
-- their time, and the sequence of events is made by the writers.

CREATE TABLE client (
    issuer TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    token_id TEXT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (issuer, client_id)
);

-- The counted columns live outside the record: uses are claimed by one UPDATE that either finds enough left or does not.
CREATE TABLE initial_access_token (
    issuer TEXT COLLATE "C" NOT NULL,
    token_id TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    max_uses BIGINT NOT NULL,
    uses BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (issuer, token_id),
    UNIQUE (issuer, digest)
);

CREATE TABLE signing_key (
    issuer TEXT COLLATE "C" NOT NULL,
    kid TEXT COLLATE "C" NOT NULL,
    algorithm TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (issuer, kid),
    UNIQUE (issuer, algorithm)
);

-- writer, batch and position are the event's place in the chain of the connection that wrote it.
CREATE TABLE event (
    sequence BIGINT PRIMARY KEY,
    writer TEXT NOT NULL,
    batch BIGINT NOT NULL,
    position BIGINT NOT NULL,
    issuer TEXT NOT NULL,
    kind TEXT NOT NULL,
    time_ms BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    body BYTEA NOT NULL,
    personal BYTEA NOT NULL
);
-- Whether a batch is there, when the connection was lost that was to say so.
CREATE INDEX event_of_batch ON event (writer, batch) WHERE position = 0;
