-- Thresholds of each model pack, in versions: the latest is in force. Where there is none, the server's
-- configuration and the pack say, as version 0.
CREATE TABLE thresholds (
    pack_digest bytea NOT NULL CHECK (octet_length(pack_digest) = 32),
    version integer NOT NULL CHECK (version > 0),
    accept real NOT NULL CHECK (accept BETWEEN -1 AND 1),
    review real NOT NULL CHECK (review BETWEEN -1 AND accept),
    margin real NOT NULL CHECK (margin BETWEEN 0 AND 2),
    set_by uuid NOT NULL REFERENCES users,
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pack_digest, version)
);

CREATE FUNCTION note_thresholds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Delivered at the commit; the payload is only for people who watch.
    PERFORM pg_notify('cavs_thresholds', NEW.version::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER note_thresholds AFTER INSERT ON thresholds
    FOR EACH ROW EXECUTE FUNCTION note_thresholds();

-- The version that decided; the threshold itself is beside it.
ALTER TABLE sightings ADD COLUMN threshold_version integer NOT NULL DEFAULT 0;

-- An erased student's sightings stay, without a face: the probe is empty then.
ALTER TABLE students ADD COLUMN erased_at timestamptz;
