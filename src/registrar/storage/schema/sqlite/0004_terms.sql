-- What clients are searched and counted by, beside their identifiers, and when the registry has to look at one again.

ALTER TABLE client ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX client_due ON client (due_at) WHERE due_at <> 0;

CREATE TABLE client_term (
    issuer TEXT NOT NULL,
    term TEXT NOT NULL,
    client_id TEXT NOT NULL,
    PRIMARY KEY (issuer, term, client_id)
) WITHOUT ROWID;

INSERT INTO client_term SELECT issuer, 'owner=' || owner, client_id FROM client WHERE owner <> '' AND state <> 'deleted';
INSERT INTO client_term SELECT issuer, 'token=' || token_id, client_id FROM client WHERE token_id <> '' AND state <> 'deleted';
INSERT INTO client_term SELECT issuer, 'state=' || state, client_id FROM client WHERE state NOT IN ('active', 'deleted');
INSERT INTO client_term SELECT issuer, 'deleted.owner=' || owner, client_id FROM client WHERE owner <> '' AND state = 'deleted';
INSERT INTO client_term SELECT issuer, 'deleted.token=' || token_id, client_id FROM client WHERE token_id <> '' AND state = 'deleted';
INSERT INTO client_term SELECT issuer, 'deleted.state=deleted', client_id FROM client WHERE state = 'deleted';
