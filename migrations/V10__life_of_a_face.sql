-- The life of a face: probes, evidence and portraits apart from what they belong to, in partitions that go as a
-- whole; "erased" as a state that the database itself keeps; erasures and retention as jobs with a state.
--
-- Order of locks, for whoever changes something here: devices, sightings, students, then faces (probes, evidence,
-- portraits), then templates and with them the gallery's clock. An ingest holds its devices, its new sightings,
-- and a share of the students that they name; an erasure takes one student's row, for itself, and after that only
-- faces and templates, never a sighting; a verdict holds its sighting and waits for a share of the student.
-- Nobody who holds a student's row waits for a sighting or a device.

-- Which day a sighting came, in UTC: where its faces are.
ALTER TABLE sightings DROP COLUMN IF EXISTS key_month, DROP COLUMN probe,
    ADD COLUMN day date NOT NULL GENERATED ALWAYS AS ((received_at AT TIME ZONE 'UTC')::date) STORED;
-- For retention; they come in this order, so that a page range of them has a short range of times.
CREATE INDEX sightings_received ON sightings USING brin (received_at);
DROP TABLE evidence;

-- A row and its sighting are of one day. There are no foreign keys, as dropping a partition would lock the tables
-- that they lead to: triggers look for the sighting, and delete what belongs to one that is deleted.
CREATE TABLE probes (
    day date NOT NULL,
    sighting_id uuid NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (day, sighting_id)
) PARTITION BY RANGE (day);
-- Ciphertext does not compress, and a row fits into a page: keep it out of TOAST.
ALTER TABLE probes ALTER COLUMN sealed SET STORAGE MAIN;

CREATE TABLE evidence (
    day date NOT NULL,
    sighting_id uuid NOT NULL,
    -- A sealed JPEG: it does not compress.
    sealed bytea NOT NULL,
    PRIMARY KEY (day, sighting_id)
) PARTITION BY RANGE (day);
ALTER TABLE evidence ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- Pictures that templates were made of, of the day of enrollment.
CREATE TABLE portraits (
    day date NOT NULL,
    template_id uuid NOT NULL,
    student_id uuid NOT NULL,
    -- A sealed JPEG.
    sealed bytea NOT NULL,
    PRIMARY KEY (day, template_id)
) PARTITION BY RANGE (day);
ALTER TABLE portraits ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX portraits_student ON portraits (student_id);

-- What comes on a day for which nobody has made a partition yet: nothing is refused for that.
CREATE TABLE probes_default PARTITION OF probes DEFAULT;
CREATE TABLE evidence_default PARTITION OF evidence DEFAULT;
CREATE TABLE portraits_default PARTITION OF portraits DEFAULT;

-- Whether a student's face was erased; waits for an erasure under way, and has the next one wait for the caller.
CREATE FUNCTION is_erased(student uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    erased boolean;
BEGIN
    SELECT erased_at IS NOT NULL INTO erased FROM students WHERE id = student FOR SHARE;
    RETURN coalesce(erased, false);
END
$$;

CREATE FUNCTION refuse_erased_student() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_erased(NEW.student_id) THEN
        RAISE EXCEPTION 'the student was erased' USING ERRCODE = 'CV101';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE ON templates
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_student();
CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE ON portraits
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_student();
DO $$
DECLARE
    keys regclass := coalesce(to_regclass('data_keys'), to_regclass('student_keys'));
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE OF student_id ON %s
        FOR EACH ROW EXECUTE FUNCTION refuse_erased_student()', keys);
END
$$;

-- An erased student keeps a pseudonym. That the number changes with the erasure has it wait for all who hold the
-- row by a foreign key, too.
ALTER TABLE students ADD CONSTRAINT students_erased CHECK (erased_at IS NULL
    OR (number LIKE 'erased-%' AND name = '' AND section = '' AND name_words = ''));
CREATE FUNCTION keep_student_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the student was erased' USING ERRCODE = 'CV101';
END
$$;
CREATE TRIGGER keep_student_erased BEFORE UPDATE ON students FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL
        AND (NEW.erased_at IS DISTINCT FROM OLD.erased_at OR NEW.number <> OLD.number OR NEW.name <> ''))
    EXECUTE FUNCTION keep_student_erased();

-- A sighting that was predicted before an erasure and is committed after it stays, without its face.
CREATE FUNCTION leave_out_erased_face() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    shown uuid;
    predicted uuid;
BEGIN
    SELECT student_id, CASE WHEN in_queue THEN predicted_student_id END INTO shown, predicted
        FROM sightings WHERE id = NEW.sighting_id AND day = NEW.day;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a face of no sighting of its day' USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF is_erased(shown) OR (predicted IS DISTINCT FROM shown AND is_erased(predicted)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER leave_out_erased_face BEFORE INSERT ON probes
    FOR EACH ROW EXECUTE FUNCTION leave_out_erased_face();
CREATE TRIGGER leave_out_erased_face BEFORE INSERT ON evidence
    FOR EACH ROW EXECUTE FUNCTION leave_out_erased_face();

-- Whatever changes the verdict in force: nobody becomes an erased student by it, and a face that would wait again
-- for a person as that of an erased student goes. After the update, as `student_id` and `in_queue` are generated.
CREATE FUNCTION check_erased_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.student_id IS DISTINCT FROM OLD.student_id OR NEW.verdict IN ('approved', 'rejected'))
        AND is_erased(NEW.student_id) THEN
        RAISE EXCEPTION 'the student was erased' USING ERRCODE = 'CV101';
    END IF;
    IF NEW.in_queue AND is_erased(NEW.predicted_student_id) THEN
        DELETE FROM probes WHERE day = NEW.day AND sighting_id = NEW.id;
        DELETE FROM evidence WHERE day = NEW.day AND sighting_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_erased_verdict AFTER UPDATE OF verdict, corrected_student_id ON sightings
    FOR EACH ROW EXECUTE FUNCTION check_erased_verdict();

CREATE FUNCTION delete_faces_of_sighting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM probes WHERE day = OLD.day AND sighting_id = OLD.id;
    DELETE FROM evidence WHERE day = OLD.day AND sighting_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_faces_of_sighting AFTER DELETE ON sightings
    FOR EACH ROW EXECUTE FUNCTION delete_faces_of_sighting();

CREATE FUNCTION delete_portrait_of_template() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM portraits WHERE day = (OLD.created_at AT TIME ZONE 'UTC')::date AND template_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_portrait_of_template AFTER DELETE ON templates
    FOR EACH ROW EXECUTE FUNCTION delete_portrait_of_template();

-- One a student: erasing again adds to it.
CREATE TABLE erasures (
    id uuid PRIMARY KEY,
    student_id uuid NOT NULL UNIQUE REFERENCES students ON DELETE CASCADE,
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
    CHECK ((state = 'purged') = (purged_at IS NOT NULL))
);
CREATE INDEX erasures_open ON erasures (requested_at) WHERE state <> 'purged';

-- How many days after its arrival something is kept: 0 for ever, NULL as the server's configuration says.
CREATE TABLE retention_policies (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    unknown_probes integer CHECK (unknown_probes BETWEEN 0 AND 36500),
    reviewed_probes integer CHECK (reviewed_probes BETWEEN 0 AND 36500),
    evidence integer CHECK (evidence BETWEEN 0 AND 36500),
    portraits integer CHECK (portraits BETWEEN 0 AND 36500),
    sightings integer CHECK (sightings BETWEEN 0 AND 36500)
);
INSERT INTO retention_policies DEFAULT VALUES;

CREATE TABLE retention_runs (
    id uuid PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    -- The policy that was applied, as days by name.
    policy jsonb NOT NULL,
    -- Rows that were deleted one by one.
    probes bigint NOT NULL DEFAULT 0,
    evidence bigint NOT NULL DEFAULT 0,
    portraits bigint NOT NULL DEFAULT 0,
    sightings bigint NOT NULL DEFAULT 0,
    -- Partitions that went as a whole, with all that was in them.
    partitions bigint NOT NULL DEFAULT 0,
    -- Why it failed.
    problem text NOT NULL DEFAULT ''
);
CREATE INDEX retention_runs_started ON retention_runs (started_at);
