-- Proofs that the database takes writes, for readiness checks: one row an issuer, replaced at most once a second
-- while someone asks. padding: as many bytes as the record of a token takes, so that a disk with room for less
-- is found full.
CREATE TABLE write_proofs (
    issuer_id TEXT COLLATE "binary" NOT NULL PRIMARY KEY REFERENCES issuers (id),
    number    BIGINT NOT NULL,
    padding   BYTEA NOT NULL
);
