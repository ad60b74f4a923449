-- The `typ` header of the resource's tokens; NULL: as the profile has it.
ALTER TABLE resources ADD COLUMN typ TEXT;
