-- Delegation: whose tokens from outside are believed, who may act for whom, and what became of tokens.

-- definition: what is believed of its tokens, a JSON object that is read whole and never queried inside.
CREATE TABLE trusted_issuers (
    issuer_id  TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    id         TEXT COLLATE "binary" NOT NULL,
    name       TEXT COLLATE "binary" NOT NULL,
    url        TEXT COLLATE "binary" NOT NULL,
    definition TEXT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    removed_at BIGINT,
    PRIMARY KEY (issuer_id, id),
    -- Removed rows count: the name is part of the subjects that are minted for its users.
    UNIQUE (issuer_id, name)
);
CREATE UNIQUE INDEX trusted_issuers_live_url ON trusted_issuers (issuer_id, url) WHERE removed_at IS NULL;

-- Credentials that are tokens of a trusted issuer. subject: the exact `sub`, NULL when only the match in
-- the definition tells.
CREATE TABLE federated_credentials (
    issuer_id         TEXT COLLATE "binary" NOT NULL,
    id                TEXT COLLATE "binary" NOT NULL,
    agent_id          TEXT COLLATE "binary" NOT NULL,
    trusted_issuer_id TEXT COLLATE "binary" NOT NULL,
    subject           TEXT COLLATE "binary",
    definition        TEXT NOT NULL,
    not_before        BIGINT NOT NULL,
    expires_at        BIGINT,
    revoked_at        BIGINT,
    created_at        BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, id),
    FOREIGN KEY (issuer_id, agent_id) REFERENCES agents (issuer_id, id),
    FOREIGN KEY (issuer_id, trusted_issuer_id) REFERENCES trusted_issuers (issuer_id, id)
);
CREATE INDEX federated_credentials_by_agent ON federated_credentials (issuer_id, agent_id, created_at);
CREATE INDEX federated_credentials_by_subject ON federated_credentials (issuer_id, trusted_issuer_id, subject);

-- subject_kind: how `subject` is compared; with a trusted issuer also `claims`, a JSON object of strings.
-- scopes: space-separated, '*' for all the resource has.
CREATE TABLE delegations (
    issuer_id         TEXT COLLATE "binary" NOT NULL,
    id                TEXT COLLATE "binary" NOT NULL,
    actor_id          TEXT COLLATE "binary" NOT NULL,
    subject_kind      TEXT COLLATE "binary" NOT NULL CHECK (subject_kind IN ('exact', 'prefix')),
    subject           TEXT COLLATE "binary" NOT NULL,
    trusted_issuer_id TEXT COLLATE "binary",
    claims            TEXT NOT NULL,
    resource_id       TEXT COLLATE "binary" NOT NULL,
    scopes            TEXT NOT NULL,
    max_depth         BIGINT NOT NULL,
    status            TEXT COLLATE "binary" NOT NULL CHECK (status IN ('active', 'suspended', 'revoked')),
    status_at         BIGINT,
    expires_at        BIGINT NOT NULL,
    version           BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, id),
    FOREIGN KEY (issuer_id, actor_id) REFERENCES agents (issuer_id, id),
    FOREIGN KEY (issuer_id, resource_id) REFERENCES resources (issuer_id, id),
    FOREIGN KEY (issuer_id, trusted_issuer_id) REFERENCES trusted_issuers (issuer_id, id)
);
CREATE INDEX delegations_by_actor ON delegations (issuer_id, actor_id, id);
CREATE INDEX delegations_by_subject ON delegations (issuer_id, subject, id);

-- One row for each delegated token: what it was made from. parent_id is the jti of the subject token, or
-- for one from outside the trusted issuer's name, ':' and a digest. No foreign keys: written with each
-- delegated token, always under the lock on audit_head.
CREATE TABLE token_lineage (
    issuer_id     TEXT COLLATE "binary" NOT NULL,
    token_id      TEXT COLLATE "binary" NOT NULL,
    parent_id     TEXT COLLATE "binary" NOT NULL,
    delegation_id TEXT COLLATE "binary" NOT NULL,
    subject       TEXT COLLATE "binary" NOT NULL,
    actor_id      TEXT COLLATE "binary" NOT NULL,
    issued_at     BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, token_id)
);
CREATE INDEX token_lineage_by_parent ON token_lineage (issuer_id, parent_id);
CREATE INDEX token_lineage_by_delegation ON token_lineage (issuer_id, delegation_id, expires_at);

-- Tokens that are good no longer, until they would have expired.
CREATE TABLE revoked_tokens (
    issuer_id  TEXT COLLATE "binary" NOT NULL,
    token_id   TEXT COLLATE "binary" NOT NULL,
    revoked_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, token_id)
);
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (issuer_id, expires_at);

-- Tokens issued at or before not_before that are about the subject, or that it acts in, are good no
-- longer. The mark goes when the last of them would have expired.
CREATE TABLE subject_marks (
    issuer_id  TEXT COLLATE "binary" NOT NULL,
    subject    TEXT COLLATE "binary" NOT NULL,
    not_before BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, subject)
);
CREATE INDEX subject_marks_by_expiry ON subject_marks (issuer_id, expires_at);

-- NULL: as the profile has it.
ALTER TABLE resources ADD COLUMN allow_delegation BOOLEAN;
-- The agent that is the resource server: it may introspect tokens for it and exchange them.
ALTER TABLE resources ADD COLUMN server_id TEXT;
ALTER TABLE resources ADD COLUMN dpop_required BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE agents ADD COLUMN dpop_required BOOLEAN NOT NULL DEFAULT FALSE;
