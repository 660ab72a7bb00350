-- Keys are replaced by newer ones of their algorithm; of two processes that make the same generation, one does.

CREATE TABLE signing_key_of_generation (
    issuer TEXT NOT NULL,
    kid TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (issuer, kid),
    UNIQUE (issuer, algorithm, generation)
);

INSERT INTO signing_key_of_generation SELECT issuer, kid, algorithm, 1, created_at, record FROM signing_key;
DROP TABLE signing_key;
ALTER TABLE signing_key_of_generation RENAME TO signing_key;
