-- Keys are replaced by newer ones of their algorithm; of two processes that make the same generation, one does.

CREATE TABLE signing_key_of_generation (
    issuer TEXT COLLATE "C" NOT NULL,
    kid TEXT COLLATE "C" NOT NULL,
    algorithm TEXT NOT NULL,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (issuer, kid),
    UNIQUE (issuer, algorithm, generation)
);

INSERT INTO signing_key_of_generation SELECT issuer, kid, algorithm, 1, created_at, record FROM signing_key;
DROP TABLE signing_key;
ALTER TABLE signing_key_of_generation RENAME TO signing_key;
