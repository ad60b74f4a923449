-- What `aud` of a client assertion must be: 'issuer-as-string', 'issuer' or 'issuer-or-token-endpoint'. An agent's,
-- where it has one, replaces the issuer's.
ALTER TABLE issuers ADD COLUMN assertion_audience TEXT NOT NULL DEFAULT 'issuer';
ALTER TABLE agents ADD COLUMN assertion_audience TEXT;
