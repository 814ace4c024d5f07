-- The life of a face: data keys, and what is sealed under them, in partitions that go as a whole; "erased" as a state
-- that the database itself keeps; erasures and retention as jobs with a state.
--
-- Order of locks, for whoever changes something here: devices, sightings, students, then faces (probes, evidence,
-- portraits), then templates and with them the gallery's clock. An ingest holds its devices, its new sightings,
-- and a share of the students that they name; an erasure takes one student's row, for itself, and after that only
-- faces and templates, never a sighting; a verdict holds its sighting and waits for a share of the student.
-- Nobody who holds a student's row waits for a sighting or a device.

-- The epochs of the keyring, as far as the database has to know them. The keyring itself is no part of the database:
-- whoever has an old copy of a row has nothing once its epoch is destroyed.
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

-- One for each student (templates and portraits), one for each day of a site's sightings (probes and evidence). Each
-- is wrapped by an epoch of the keyring; without its row, what it has sealed is noise.
CREATE TABLE data_keys (
    site_id uuid NOT NULL REFERENCES sites,
    -- In the header of everything that the key seals.
    id uuid NOT NULL,
    student_id uuid,
    -- Of reception, in UTC.
    day date,
    epoch integer NOT NULL REFERENCES key_epochs,
    wrapped bytea NOT NULL,
    PRIMARY KEY (site_id, id),
    CONSTRAINT data_keys_student UNIQUE (site_id, student_id),
    CONSTRAINT data_keys_day UNIQUE (site_id, day),
    FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE,
    CHECK ((student_id IS NULL) <> (day IS NULL))
);
CREATE INDEX data_keys_epoch ON data_keys (epoch, site_id, id);

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

CREATE TABLE templates (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    student_id uuid NOT NULL,
    pack_digest bytea NOT NULL CHECK (octet_length(pack_digest) = 32),
    -- Sealed by the student's key.
    embedding bytea NOT NULL,
    source text NOT NULL CHECK (source IN ('image')),
    quality jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, id),
    FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE
);
-- Ciphertext does not compress, and a row fits into a page: keep it out of TOAST.
ALTER TABLE templates ALTER COLUMN embedding SET STORAGE MAIN;
CREATE INDEX templates_student ON templates (site_id, student_id);
CREATE INDEX templates_pack ON templates (site_id, pack_digest);

-- A probe or a picture is of its sighting's site and day. There are no foreign keys, as dropping a partition would lock
-- the tables that they lead to: triggers look for the sighting, and delete what belongs to one that is deleted.
CREATE TABLE probes (
    site_id uuid NOT NULL,
    day date NOT NULL,
    sighting_id uuid NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (site_id, day, sighting_id)
) PARTITION BY RANGE (day);
ALTER TABLE probes ALTER COLUMN sealed SET STORAGE MAIN;

CREATE TABLE evidence (
    site_id uuid NOT NULL,
    day date NOT NULL,
    sighting_id uuid NOT NULL,
    -- A sealed JPEG: it does not compress.
    sealed bytea NOT NULL,
    PRIMARY KEY (site_id, day, sighting_id)
) PARTITION BY RANGE (day);
ALTER TABLE evidence ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- Pictures that templates were made of, of the day of enrollment.
CREATE TABLE portraits (
    site_id uuid NOT NULL,
    day date NOT NULL,
    template_id uuid NOT NULL,
    student_id uuid NOT NULL,
    -- A sealed JPEG.
    sealed bytea NOT NULL,
    PRIMARY KEY (site_id, day, template_id)
) PARTITION BY RANGE (day);
ALTER TABLE portraits ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX portraits_student ON portraits (site_id, student_id);

-- What comes on a day for which nobody has made a partition yet: nothing is refused for that.
CREATE TABLE probes_default PARTITION OF probes DEFAULT;
CREATE TABLE evidence_default PARTITION OF evidence DEFAULT;
CREATE TABLE portraits_default PARTITION OF portraits DEFAULT;

-- Whether a student's face was erased; waits for an erasure under way, and has the next one wait for the caller.
CREATE FUNCTION is_erased(site uuid, student uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    erased boolean;
BEGIN
    SELECT erased_at IS NOT NULL INTO erased FROM students WHERE site_id = site AND id = student FOR SHARE;
    RETURN coalesce(erased, false);
END
$$;

CREATE FUNCTION refuse_erased_student() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_erased(NEW.site_id, NEW.student_id) THEN
        RAISE EXCEPTION 'the student was erased' USING ERRCODE = 'CV101';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE OF student_id ON data_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_student();
CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE ON templates
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_student();
CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE ON portraits
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_student();

-- A sighting that was predicted before an erasure and is committed after it stays, without its face.
CREATE FUNCTION leave_out_erased_face() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    shown uuid;
    predicted uuid;
BEGIN
    SELECT student_id, CASE WHEN in_queue THEN predicted_student_id END INTO shown, predicted
        FROM sightings WHERE site_id = NEW.site_id AND id = NEW.sighting_id AND day = NEW.day;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a face of no sighting of its day' USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF is_erased(NEW.site_id, shown)
        OR (predicted IS DISTINCT FROM shown AND is_erased(NEW.site_id, predicted)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER leave_out_erased_face BEFORE INSERT ON probes
    FOR EACH ROW EXECUTE FUNCTION leave_out_erased_face();
CREATE TRIGGER leave_out_erased_face BEFORE INSERT ON evidence
    FOR EACH ROW EXECUTE FUNCTION leave_out_erased_face();

CREATE FUNCTION delete_faces_of_sighting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM probes WHERE site_id = OLD.site_id AND day = OLD.day AND sighting_id = OLD.id;
    DELETE FROM evidence WHERE site_id = OLD.site_id AND day = OLD.day AND sighting_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_faces_of_sighting AFTER DELETE ON sightings
    FOR EACH ROW EXECUTE FUNCTION delete_faces_of_sighting();

-- Whatever changes the verdict in force: nobody becomes an erased student by it, and a face that would wait again
-- for a person as that of an erased student goes. After the update, as `student_id` and `in_queue` are generated.
CREATE FUNCTION check_erased_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.student_id IS DISTINCT FROM OLD.student_id OR NEW.verdict IN ('approved', 'rejected'))
        AND is_erased(NEW.site_id, NEW.student_id) THEN
        RAISE EXCEPTION 'the student was erased' USING ERRCODE = 'CV101';
    END IF;
    IF NEW.in_queue AND is_erased(NEW.site_id, NEW.predicted_student_id) THEN
        DELETE FROM probes WHERE site_id = NEW.site_id AND day = NEW.day AND sighting_id = NEW.id;
        DELETE FROM evidence WHERE site_id = NEW.site_id AND day = NEW.day AND sighting_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_erased_verdict AFTER UPDATE OF verdict, corrected_student_id ON sightings
    FOR EACH ROW EXECUTE FUNCTION check_erased_verdict();

CREATE FUNCTION delete_portrait_of_template() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM portraits WHERE site_id = OLD.site_id AND day = (OLD.created_at AT TIME ZONE 'UTC')::date
        AND template_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_portrait_of_template AFTER DELETE ON templates
    FOR EACH ROW EXECUTE FUNCTION delete_portrait_of_template();

-- One a student: erasing again adds to it.
CREATE TABLE erasures (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    student_id uuid NOT NULL,
    requested_by uuid NOT NULL REFERENCES users,
    requested_at timestamptz NOT NULL DEFAULT now(),
    -- The transaction that destroyed: a snapshot of before it still sees what is gone.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'purging', 'purged')),
    templates bigint NOT NULL,
    -- Whose faces are gone.
    sightings bigint NOT NULL,
    purged_at timestamptz,
    -- In words; empty where it waits for nobody.
    waits_for text NOT NULL DEFAULT '',
    PRIMARY KEY (site_id, id),
    CONSTRAINT erasures_student UNIQUE (site_id, student_id),
    FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE,
    CHECK ((state = 'purged') = (purged_at IS NOT NULL))
);
CREATE INDEX erasures_open ON erasures (requested_at) WHERE state <> 'purged';

-- How many days after its arrival something is kept: 0 for ever, NULL (or no row) as the server's configuration says.
CREATE TABLE retention_policies (
    site_id uuid PRIMARY KEY REFERENCES sites,
    unknown_probes integer CHECK (unknown_probes BETWEEN 0 AND 36500),
    reviewed_probes integer CHECK (reviewed_probes BETWEEN 0 AND 36500),
    evidence integer CHECK (evidence BETWEEN 0 AND 36500),
    portraits integer CHECK (portraits BETWEEN 0 AND 36500),
    sightings integer CHECK (sightings BETWEEN 0 AND 36500),
    set_by uuid NOT NULL REFERENCES users,
    set_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE retention_runs (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    -- The policy that was applied, as days by name.
    policy jsonb NOT NULL,
    -- What of the site was deleted. Faces that went with their sightings are not counted beside them.
    probes bigint NOT NULL DEFAULT 0,
    evidence bigint NOT NULL DEFAULT 0,
    portraits bigint NOT NULL DEFAULT 0,
    sightings bigint NOT NULL DEFAULT 0,
    -- Why it failed.
    problem text NOT NULL DEFAULT '',
    PRIMARY KEY (site_id, id)
);
CREATE INDEX retention_runs_started ON retention_runs (site_id, started_at);
