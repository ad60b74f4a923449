-- Ending a token, a delegation or a subject is one row; whoever judges a token looks upward along its line.

-- The newest `iat` that was recorded: a mark is never older, whatever the clocks of the replicas say.
ALTER TABLE audit_head ADD COLUMN newest_iat BIGINT NOT NULL DEFAULT 0;

-- Every token on the way from a delegated token to its root has a row, the root too: parent_id, delegation_id
-- and actor_id are '' there. root_id: the jti at the top, or the name of a token from outside. depth: exchanges
-- since the root. audience '': a row from before this migration, from which nothing more is decided.
ALTER TABLE token_lineage ADD COLUMN root_id TEXT COLLATE "binary" NOT NULL DEFAULT '';
ALTER TABLE token_lineage ADD COLUMN depth BIGINT NOT NULL DEFAULT 0;
ALTER TABLE token_lineage ADD COLUMN audience TEXT NOT NULL DEFAULT '';
-- Space-separated, as in the token.
ALTER TABLE token_lineage ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
-- For a root from outside: the claims that its signature proved, a JSON object of strings; else NULL.
ALTER TABLE token_lineage ADD COLUMN claims TEXT;
-- No statement looks for the tokens of a delegation; those made from a token are read in the order of their ids.
DROP INDEX token_lineage_by_delegation;
DROP INDEX token_lineage_by_parent;
CREATE INDEX token_lineage_by_parent ON token_lineage (issuer_id, parent_id, token_id);

-- Tokens issued at or before not_before are ended: those that the subject `key` is in, or those made under the
-- delegation `key` with all that was made from them. The mark goes when the last of them would have expired.
CREATE TABLE end_marks (
    issuer_id  TEXT COLLATE "binary" NOT NULL,
    kind       TEXT COLLATE "binary" NOT NULL CHECK (kind IN ('subject', 'delegation')),
    key        TEXT COLLATE "binary" NOT NULL,
    not_before BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, key, kind)
);
CREATE INDEX end_marks_by_kind ON end_marks (issuer_id, kind, key);
CREATE INDEX end_marks_by_expiry ON end_marks (issuer_id, expires_at);
INSERT INTO end_marks (issuer_id, kind, key, not_before, expires_at)
    SELECT issuer_id, 'subject', subject, not_before, expires_at FROM subject_marks;
DROP TABLE subject_marks;
