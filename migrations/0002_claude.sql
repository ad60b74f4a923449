-- What is known of the relying party Claude, and of those who hold copies of the signing keys.

-- The objects at Claude that belong to an agent: what its exchanges name. One link an agent.
CREATE TABLE claude_links (
    issuer_id            TEXT COLLATE "binary" NOT NULL,
    agent_id             TEXT COLLATE "binary" NOT NULL,
    rule_id              TEXT NOT NULL,
    organization_id      TEXT NOT NULL,
    service_account_id   TEXT NOT NULL,
    workspace_id         TEXT,
    federation_issuer_id TEXT,
    -- The rule's token_lifetime_seconds, when it is known.
    token_lifetime       BIGINT,
    version              BIGINT NOT NULL,
    created_at           BIGINT NOT NULL,
    updated_at           BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, agent_id),
    FOREIGN KEY (issuer_id, agent_id) REFERENCES agents (issuer_id, id)
);

-- Relying parties that hold the keys themselves and do not fetch the JWKS. The name of a removed one
-- may be used again.
CREATE TABLE key_consumers (
    issuer_id   TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    name        TEXT COLLATE "binary" NOT NULL,
    description TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    removed_at  BIGINT,
    PRIMARY KEY (issuer_id, name)
);

-- Which keys a consumer has confirmed to hold.
CREATE TABLE key_acknowledgements (
    issuer_id       TEXT COLLATE "binary" NOT NULL,
    consumer        TEXT COLLATE "binary" NOT NULL,
    kid             TEXT COLLATE "binary" NOT NULL,
    acknowledged_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, consumer, kid),
    FOREIGN KEY (issuer_id, consumer) REFERENCES key_consumers (issuer_id, name),
    FOREIGN KEY (issuer_id, kid) REFERENCES signing_keys (issuer_id, kid)
);
