-- What an administrator did, and what was done to an object, without reading past every token that was
-- issued: entries of tokens are in neither index, so that what a token costs stays the same.
CREATE INDEX audit_of_target ON audit (issuer_id, target, seq)
    WHERE event NOT IN ('token.issued', 'id_token.issued');
CREATE INDEX audit_of_actor ON audit (issuer_id, actor, seq)
    WHERE event NOT IN ('token.issued', 'id_token.issued');
