-- The key sets that were fetched of trusted issuers, so that a platform that is down while this issuer
-- restarts does not take its agents down with it. source: where the set came from, as in the definition; a
-- set of another source is not used. keys: the usable keys, a JWK Set. One row for each trusted issuer,
-- replaced by each fetch.
CREATE TABLE trusted_issuer_keys (
    issuer_id         TEXT COLLATE "binary" NOT NULL,
    trusted_issuer_id TEXT COLLATE "binary" NOT NULL,
    source            TEXT NOT NULL,
    keys              TEXT NOT NULL,
    fetched_at        BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, trusted_issuer_id),
    FOREIGN KEY (issuer_id, trusted_issuer_id) REFERENCES trusted_issuers (issuer_id, id)
);
