-- One text for SQLite and PostgreSQL: TEXT, BIGINT, BOOLEAN and BYTEA columns only. Times are Unix
-- seconds, in the audit milliseconds. Every table carries its issuer, and keys between tables hold the
-- issuer too, so that no row can point into another issuer.
--
-- COLLATE "binary": text that is a key or is sorted compares byte by byte. SQLite has that collation;
-- on PostgreSQL it is made from "C" before the first migration. A collation of the operating system
-- would sort otherwise, and an update of its tables would silently break the unique indexes on names.

CREATE TABLE issuers (
    id                    TEXT COLLATE "binary" NOT NULL PRIMARY KEY,
    slug                  TEXT COLLATE "binary" NOT NULL UNIQUE,
    url                   TEXT COLLATE "binary" NOT NULL UNIQUE,
    subject_template      TEXT NOT NULL,
    default_lifetime      BIGINT NOT NULL,
    max_lifetime          BIGINT NOT NULL,
    default_algorithm     TEXT NOT NULL,
    -- After a restore: assertions issued at or before it are refused, because their use is not known.
    assertions_not_before BIGINT NOT NULL DEFAULT 0,
    version               BIGINT NOT NULL,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL
);

-- The end of the issuer's audit chain, and the one lock of the issuer: every write transaction updates
-- this row first.
CREATE TABLE audit_head (
    issuer_id        TEXT COLLATE "binary" NOT NULL PRIMARY KEY REFERENCES issuers (id),
    seq              BIGINT NOT NULL,
    hash             BYTEA NOT NULL,
    registry_version BIGINT NOT NULL,
    policy_version   BIGINT NOT NULL
);

-- No foreign key here and in used_assertions: they are written with each token, always under the lock
-- on audit_head, and a check of the parent for each row would only cost.
CREATE TABLE audit (
    issuer_id  TEXT COLLATE "binary" NOT NULL,
    seq        BIGINT NOT NULL,
    at_ms      BIGINT NOT NULL,
    event      TEXT COLLATE "binary" NOT NULL,
    actor      TEXT COLLATE "binary" NOT NULL,
    target     TEXT NOT NULL,
    agent_id   TEXT COLLATE "binary",
    token_id   TEXT COLLATE "binary",
    request_id TEXT NOT NULL,
    address    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    hash       BYTEA NOT NULL,
    PRIMARY KEY (issuer_id, seq)
);
CREATE INDEX audit_by_agent ON audit (issuer_id, agent_id, seq);
CREATE INDEX audit_by_token ON audit (issuer_id, token_id);

CREATE TABLE used_assertions (
    issuer_id  TEXT COLLATE "binary" NOT NULL,
    digest     BYTEA NOT NULL,
    token_id   TEXT COLLATE "binary" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, digest)
);
CREATE INDEX used_assertions_by_expiry ON used_assertions (issuer_id, expires_at);

CREATE TABLE roles (
    issuer_id   TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    id          TEXT COLLATE "binary" NOT NULL,
    name        TEXT COLLATE "binary" NOT NULL,
    description TEXT NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    removed_at  BIGINT,
    PRIMARY KEY (issuer_id, id),
    -- Removed rows count: a name in a token's claims is never given out twice.
    UNIQUE (issuer_id, name)
);

CREATE TABLE groups (
    issuer_id   TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    id          TEXT COLLATE "binary" NOT NULL,
    name        TEXT COLLATE "binary" NOT NULL,
    description TEXT NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    removed_at  BIGINT,
    PRIMARY KEY (issuer_id, id),
    UNIQUE (issuer_id, name)
);

CREATE TABLE group_roles (
    issuer_id TEXT COLLATE "binary" NOT NULL,
    group_id  TEXT COLLATE "binary" NOT NULL,
    role_id   TEXT COLLATE "binary" NOT NULL,
    PRIMARY KEY (issuer_id, group_id, role_id),
    FOREIGN KEY (issuer_id, group_id) REFERENCES groups (issuer_id, id),
    FOREIGN KEY (issuer_id, role_id) REFERENCES roles (issuer_id, id)
);
CREATE INDEX group_roles_by_role ON group_roles (issuer_id, role_id);

CREATE TABLE resources (
    issuer_id   TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    id          TEXT COLLATE "binary" NOT NULL,
    name        TEXT COLLATE "binary" NOT NULL,
    identifier  TEXT COLLATE "binary" NOT NULL,
    description TEXT NOT NULL,
    profile     TEXT NOT NULL,
    lifetime    BIGINT,
    algorithm   TEXT,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    removed_at  BIGINT,
    PRIMARY KEY (issuer_id, id)
);
CREATE UNIQUE INDEX resources_live_name ON resources (issuer_id, name) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX resources_live_identifier ON resources (issuer_id, identifier) WHERE removed_at IS NULL;

CREATE TABLE resource_scopes (
    issuer_id   TEXT COLLATE "binary" NOT NULL,
    resource_id TEXT COLLATE "binary" NOT NULL,
    scope       TEXT COLLATE "binary" NOT NULL,
    PRIMARY KEY (issuer_id, resource_id, scope),
    FOREIGN KEY (issuer_id, resource_id) REFERENCES resources (issuer_id, id)
);

-- scope: a scope's name, '*' for all the resource has, '' for the resource without any.
CREATE TABLE role_grants (
    issuer_id   TEXT COLLATE "binary" NOT NULL,
    role_id     TEXT COLLATE "binary" NOT NULL,
    resource_id TEXT COLLATE "binary" NOT NULL,
    scope       TEXT COLLATE "binary" NOT NULL,
    PRIMARY KEY (issuer_id, role_id, resource_id, scope),
    FOREIGN KEY (issuer_id, role_id) REFERENCES roles (issuer_id, id),
    FOREIGN KEY (issuer_id, resource_id) REFERENCES resources (issuer_id, id)
);
CREATE INDEX role_grants_by_resource ON role_grants (issuer_id, resource_id);

CREATE TABLE agents (
    issuer_id   TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    id          TEXT COLLATE "binary" NOT NULL,
    name        TEXT COLLATE "binary" NOT NULL,
    subject     TEXT COLLATE "binary" NOT NULL,
    owner       TEXT NOT NULL,
    description TEXT NOT NULL,
    attributes  TEXT NOT NULL,
    status      TEXT COLLATE "binary" NOT NULL CHECK (status IN ('active', 'suspended', 'removed')),
    status_at   BIGINT,
    expires_at  BIGINT,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, id),
    -- Removed rows count: relying parties pin names and subjects.
    UNIQUE (issuer_id, name),
    UNIQUE (issuer_id, subject)
);
CREATE INDEX agents_by_version ON agents (issuer_id, version);

CREATE TABLE agent_groups (
    issuer_id TEXT COLLATE "binary" NOT NULL,
    agent_id  TEXT COLLATE "binary" NOT NULL,
    group_id  TEXT COLLATE "binary" NOT NULL,
    PRIMARY KEY (issuer_id, agent_id, group_id),
    FOREIGN KEY (issuer_id, agent_id) REFERENCES agents (issuer_id, id),
    FOREIGN KEY (issuer_id, group_id) REFERENCES groups (issuer_id, id)
);
CREATE INDEX agent_groups_by_group ON agent_groups (issuer_id, group_id);

CREATE TABLE agent_roles (
    issuer_id TEXT COLLATE "binary" NOT NULL,
    agent_id  TEXT COLLATE "binary" NOT NULL,
    role_id   TEXT COLLATE "binary" NOT NULL,
    PRIMARY KEY (issuer_id, agent_id, role_id),
    FOREIGN KEY (issuer_id, agent_id) REFERENCES agents (issuer_id, id),
    FOREIGN KEY (issuer_id, role_id) REFERENCES roles (issuer_id, id)
);
CREATE INDEX agent_roles_by_role ON agent_roles (issuer_id, role_id);

CREATE TABLE credentials (
    issuer_id   TEXT COLLATE "binary" NOT NULL,
    id          TEXT COLLATE "binary" NOT NULL,
    agent_id    TEXT COLLATE "binary" NOT NULL,
    kind        TEXT COLLATE "binary" NOT NULL,
    secret_hash TEXT,
    jwk         TEXT,
    thumbprint  TEXT COLLATE "binary",
    kid         TEXT COLLATE "binary",
    not_before  BIGINT NOT NULL,
    expires_at  BIGINT,
    revoked_at  BIGINT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, id),
    FOREIGN KEY (issuer_id, agent_id) REFERENCES agents (issuer_id, id),
    CHECK ((kind = 'client_secret' AND secret_hash IS NOT NULL AND jwk IS NULL AND thumbprint IS NULL AND kid IS NULL)
        OR (kind = 'public_key' AND secret_hash IS NULL AND jwk IS NOT NULL AND thumbprint IS NOT NULL AND kid IS NOT NULL))
);
CREATE INDEX credentials_by_agent ON credentials (issuer_id, agent_id, created_at);
-- One key proves one agent, and a kid names one key of an agent.
CREATE UNIQUE INDEX credentials_live_thumbprint ON credentials (issuer_id, thumbprint) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX credentials_live_kid ON credentials (issuer_id, agent_id, kid) WHERE revoked_at IS NULL;

CREATE TABLE signing_keys (
    issuer_id  TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    kid        TEXT COLLATE "binary" NOT NULL,
    algorithm  TEXT COLLATE "binary" NOT NULL,
    state      TEXT COLLATE "binary" NOT NULL CHECK (state IN ('prepared', 'active', 'retiring', 'retired', 'revoked')),
    state_at   BIGINT,
    public_jwk TEXT NOT NULL,
    sealed     BYTEA,
    created_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, kid)
);
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (issuer_id, algorithm) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_one_prepared ON signing_keys (issuer_id, algorithm) WHERE state = 'prepared';

CREATE TABLE sealed_secrets (
    issuer_id TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    name      TEXT COLLATE "binary" NOT NULL,
    sealed    BYTEA NOT NULL,
    PRIMARY KEY (issuer_id, name)
);

CREATE TABLE administrators (
    issuer_id    TEXT COLLATE "binary" NOT NULL REFERENCES issuers (id),
    id           TEXT COLLATE "binary" NOT NULL,
    name         TEXT COLLATE "binary" NOT NULL,
    role         TEXT COLLATE "binary" NOT NULL CHECK (role IN ('viewer', 'operator', 'owner')),
    token_digest BYTEA NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, id),
    UNIQUE (issuer_id, name),
    UNIQUE (issuer_id, token_digest)
);
