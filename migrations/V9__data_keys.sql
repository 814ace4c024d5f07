-- Data keys: one for each student (templates and portraits), one for each day of sightings (probes and evidence).
-- Each is wrapped by an epoch of the keyring, which is no part of the database: whoever has an old copy of a row
-- has nothing once its epoch is destroyed.

DROP TABLE vault;

-- The epochs of the keyring, as far as the database has to know them.
CREATE TABLE key_epochs (
    epoch integer PRIMARY KEY CHECK (epoch > 0),
    -- Sealed by the epoch's key: shows at the start that a keyring is the one of this database.
    proof bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Nothing may be wrapped by it any more.
    retired_at timestamptz,
    -- It is gone from the keyring.
    destroyed_at timestamptz CHECK (destroyed_at IS NULL OR retired_at IS NOT NULL)
);

DROP TABLE student_keys;
ALTER TABLE sightings DROP COLUMN key_month;
DROP TABLE sighting_keys;

CREATE TABLE data_keys (
    -- In the header of everything that the key seals.
    id uuid PRIMARY KEY,
    student_id uuid UNIQUE REFERENCES students ON DELETE CASCADE,
    -- Of reception, in UTC.
    day date UNIQUE,
    epoch integer NOT NULL REFERENCES key_epochs,
    wrapped bytea NOT NULL,
    CHECK ((student_id IS NULL) <> (day IS NULL))
);
CREATE INDEX data_keys_epoch ON data_keys (epoch);

-- A key that is wrapped by an epoch under retirement would be lost with it: whoever writes one holds the epoch's
-- row until the commit, and whoever retires an epoch waits for that.
CREATE FUNCTION check_key_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM key_epochs WHERE epoch = NEW.epoch AND retired_at IS NULL FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % of the keyring is retired', NEW.epoch USING ERRCODE = 'CV001';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER check_key_epoch BEFORE INSERT OR UPDATE OF epoch, wrapped ON data_keys
    FOR EACH ROW EXECUTE FUNCTION check_key_epoch();
