-- Administrators are edited like every other named thing: by the version that the caller saw.
ALTER TABLE administrators ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
