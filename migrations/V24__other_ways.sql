-- How people show that they are there by something else than their face, by themselves: cards, PINs, and codes that are
-- shown in the room.

-- Card numbers are hashed by site, so that one is found by its number: slowly (Argon2id), as there are few of them to
-- try.
CREATE TABLE card_salts (
    site_id uuid PRIMARY KEY REFERENCES sites,
    salt bytea NOT NULL CHECK (octet_length(salt) = 16)
);

CREATE TABLE student_credentials (
    site_id uuid NOT NULL,
    student_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('card', 'pin')),
    -- Of a card, its hash; of a PIN, its tag under the student's data key, which goes with the student.
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    set_at timestamptz NOT NULL DEFAULT now(),
    set_by uuid NOT NULL REFERENCES users,
    PRIMARY KEY (site_id, student_id, kind),
    CONSTRAINT student_credentials_student FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE
);
CREATE UNIQUE INDEX student_credentials_card ON student_credentials (site_id, digest) WHERE kind = 'card';
CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE ON student_credentials
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_student();

-- Wrong PINs in a row. A row is there before the PIN is looked at, so that tries at once are counted, too.
CREATE TABLE pin_attempts (
    site_id uuid NOT NULL,
    student_id uuid NOT NULL,
    failures integer NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, student_id),
    CONSTRAINT pin_attempts_student FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE
);

CREATE FUNCTION forget_credentials_of_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM student_credentials WHERE site_id = NEW.site_id AND student_id = NEW.id;
    DELETE FROM pin_attempts WHERE site_id = NEW.site_id AND student_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_credentials_of_erased AFTER UPDATE OF erased_at ON students
    FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION forget_credentials_of_erased();

-- NULL: they have done it by themselves.
ALTER TABLE check_ins ALTER COLUMN recorded_by DROP NOT NULL;

-- Late enrollment: what was taken for nobody is looked up again when somebody is enrolled, in sites that want it. What is
-- found is proposed, and a person decides.
ALTER TABLE sites
    -- How many days back; NULL: it isn't done.
    ADD COLUMN late_match_days integer CHECK (late_match_days BETWEEN 1 AND 90);

-- Who has a new template. A row goes when what was taken for nobody has been looked through.
CREATE TABLE late_match_queue (
    site_id uuid NOT NULL,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    student_id uuid NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    -- When a server began with it: another one takes it on where that was long ago.
    taken_at timestamptz,
    PRIMARY KEY (site_id, id),
    CONSTRAINT late_match_queue_student FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE
);

CREATE FUNCTION queue_late_matches() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO late_match_queue (site_id, student_id)
        SELECT DISTINCT n.site_id, n.student_id FROM changed n JOIN sites s ON s.id = n.site_id
        WHERE s.late_match_days IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_late_matches AFTER INSERT ON templates
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_late_matches();

CREATE TABLE late_matches (
    site_id uuid NOT NULL,
    sighting_id uuid NOT NULL,
    student_id uuid NOT NULL,
    similarity real NOT NULL,
    -- What would have been accepted without a person.
    threshold real NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'dismissed')),
    decided_at timestamptz,
    decided_by uuid REFERENCES users,
    PRIMARY KEY (site_id, sighting_id, student_id),
    CONSTRAINT late_matches_decided
        CHECK ((state = 'open') = (decided_at IS NULL) AND (state = 'open') = (decided_by IS NULL)),
    CONSTRAINT late_matches_sighting FOREIGN KEY (site_id, sighting_id) REFERENCES sightings ON DELETE CASCADE,
    CONSTRAINT late_matches_student FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE
);
CREATE INDEX late_matches_open ON late_matches (site_id, found_at, sighting_id, student_id) WHERE state = 'open';
CREATE TRIGGER refuse_erased_student BEFORE INSERT OR UPDATE ON late_matches
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_student();

CREATE FUNCTION forget_late_matches_of_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM late_matches WHERE site_id = NEW.site_id AND student_id = NEW.id;
    DELETE FROM late_match_queue WHERE site_id = NEW.site_id AND student_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_late_matches_of_erased AFTER UPDATE OF erased_at ON students
    FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL)
    EXECUTE FUNCTION forget_late_matches_of_erased();
