-- Delegations and federated credentials by when they end, so that those which are live are found without reading past
-- those which expired, and those which ended long ago are found to be deleted.
CREATE INDEX delegations_of_actor_by_end ON delegations (issuer_id, actor_id, expires_at, id) WHERE status <> 'revoked';

DROP INDEX delegations_of_resource;
CREATE INDEX delegations_of_resource_by_end ON delegations (issuer_id, resource_id, expires_at, id)
    WHERE status <> 'revoked';

DROP INDEX delegations_of_trusted_issuer;
CREATE INDEX delegations_of_trusted_issuer_by_end ON delegations (issuer_id, trusted_issuer_id, expires_at, id)
    WHERE status <> 'revoked' AND trusted_issuer_id IS NOT NULL;

CREATE INDEX delegations_by_end ON delegations (issuer_id, expires_at, id);

-- One that never expires ends after all others.
DROP INDEX federated_credentials_of_trusted_issuer;
CREATE INDEX federated_credentials_of_trusted_issuer_by_end ON federated_credentials
    (issuer_id, trusted_issuer_id, (COALESCE(expires_at, 9223372036854775807)), id) WHERE revoked_at IS NULL;

CREATE INDEX federated_credentials_by_end ON federated_credentials (issuer_id, expires_at, id)
    WHERE expires_at IS NOT NULL;

-- One that never expires ends by its revocation.
CREATE INDEX federated_credentials_by_revocation ON federated_credentials (issuer_id, revoked_at, id)
    WHERE expires_at IS NULL AND revoked_at IS NOT NULL;
