-- The agents that a token of a trusted issuer could prove, by id, so that no more of them are read than are compared.
-- Two indexes: PostgreSQL does not take rows without a subject from one index in the order of the column behind it.
DROP INDEX federated_credentials_of_subject;
CREATE INDEX federated_credentials_of_subject_by_agent ON federated_credentials
    (issuer_id, trusted_issuer_id, subject, agent_id, expires_at) WHERE revoked_at IS NULL AND subject IS NOT NULL;
CREATE INDEX federated_credentials_of_any_subject_by_agent ON federated_credentials
    (issuer_id, trusted_issuer_id, agent_id, expires_at) WHERE revoked_at IS NULL AND subject IS NULL;
