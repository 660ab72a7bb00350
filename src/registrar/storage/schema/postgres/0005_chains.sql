-- The chains of the writers, and their batches in the order of the log that checkpoints sign.

CREATE TABLE audit_batch (
    writer TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    events BIGINT NOT NULL,
    root BYTEA NOT NULL,
    link BYTEA NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (writer, number)
);
CREATE UNIQUE INDEX batch_in_log ON audit_batch (place) WHERE place <> 0;
CREATE INDEX batch_waiting ON audit_batch (writer, number) WHERE place = 0;

-- Writers from before there were chains: of what they wrote, nothing can be proved.
CREATE TABLE audit_unchained (
    writer TEXT COLLATE "C" PRIMARY KEY
);
INSERT INTO audit_unchained SELECT DISTINCT writer FROM event;

-- What became of a client, whatever the number of events.
CREATE INDEX event_of_client ON event (client_id, sequence) WHERE client_id <> '';
