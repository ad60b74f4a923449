-- Indexes that each statement needs to find its rows, whatever a planner believes of `issuer_id`. Where
-- rows are written with each token, an index replaces another: what a token costs stays the same.

-- A token's entries in order. Entries about no token are left out. A jti is time-ordered, so that new
-- entries land at the end.
DROP INDEX audit_by_token;
CREATE INDEX audit_of_token ON audit (issuer_id, token_id, seq) WHERE token_id IS NOT NULL;

-- An agent's entries in order, in two halves, so that its last token is the first row of one of them.
-- Each entry is in one half.
DROP INDEX audit_by_agent;
CREATE INDEX audit_tokens_of_agent ON audit (issuer_id, agent_id, seq)
    WHERE event IN ('token.issued', 'id_token.issued');
CREATE INDEX audit_others_of_agent ON audit (issuer_id, agent_id, seq)
    WHERE event NOT IN ('token.issued', 'id_token.issued');

CREATE INDEX token_lineage_by_expiry ON token_lineage (issuer_id, expires_at);

DROP INDEX agents_by_version;
CREATE INDEX agents_changed ON agents (issuer_id, version, id);

-- With all columns that are asked for: else SQLite reads the whole primary key, which has them.
DROP INDEX agent_groups_by_group;
CREATE INDEX agents_of_group ON agent_groups (issuer_id, group_id, agent_id);
DROP INDEX agent_roles_by_role;
CREATE INDEX agents_of_role ON agent_roles (issuer_id, role_id, agent_id);
DROP INDEX group_roles_by_role;
CREATE INDEX groups_of_role ON group_roles (issuer_id, role_id, group_id);

-- Revoked credentials stay as rows, and nothing looks for them by their trusted issuer.
DROP INDEX federated_credentials_by_subject;
CREATE INDEX federated_credentials_of_subject ON federated_credentials (issuer_id, trusted_issuer_id, subject)
    WHERE revoked_at IS NULL;
CREATE INDEX federated_credentials_of_trusted_issuer ON federated_credentials (issuer_id, trusted_issuer_id, id)
    WHERE revoked_at IS NULL;

CREATE INDEX delegations_of_resource ON delegations (issuer_id, resource_id, id) WHERE status <> 'revoked';
CREATE INDEX delegations_of_trusted_issuer ON delegations (issuer_id, trusted_issuer_id, id)
    WHERE status <> 'revoked' AND trusted_issuer_id IS NOT NULL;
