-- When people are expected where: terms and holidays, groups with their rosters, rooms with their devices, and class
-- sessions, which are what attendance is taken of. (Sessions of people who have logged in are `user_sessions`.)

-- The IANA name of the zone that the site's clocks show: what dates and local times of its schedule are meant in.
ALTER TABLE sites ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC';

-- Terms may overlap: a year holds its semesters.
CREATE TABLE terms (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    name text NOT NULL,
    starts_on date NOT NULL,
    -- The last day.
    ends_on date NOT NULL CHECK (ends_on >= starts_on),
    -- What another system calls it, such as OneRoster's `sourcedId`; '' for none.
    external_id text NOT NULL DEFAULT '',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, id),
    CONSTRAINT terms_name UNIQUE (site_id, name)
);
CREATE UNIQUE INDEX terms_external_id ON terms (site_id, external_id) WHERE external_id <> '';
CREATE INDEX terms_days ON terms (site_id, starts_on, id);

-- Days without sessions: patterns pass over them.
CREATE TABLE holidays (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    starts_on date NOT NULL,
    -- The last day.
    ends_on date NOT NULL CHECK (ends_on >= starts_on),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, id),
    CONSTRAINT holidays_days UNIQUE (site_id, starts_on, name)
);

-- Classes, courses, teams and shifts: those who are expected together.
CREATE TABLE groups (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    name text NOT NULL,
    term_id uuid,
    external_id text NOT NULL DEFAULT '',
    -- From then on it is not in lists, and its name is free.
    archived_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, id),
    CONSTRAINT groups_term FOREIGN KEY (site_id, term_id) REFERENCES terms
);
CREATE UNIQUE INDEX groups_name ON groups (site_id, name) WHERE archived_at IS NULL;
CREATE UNIQUE INDEX groups_external_id ON groups (site_id, external_id) WHERE external_id <> '';
CREATE INDEX groups_by_name ON groups (site_id, name, id);
CREATE INDEX groups_term ON groups (site_id, term_id) WHERE term_id IS NOT NULL;

-- Who belongs to a group when. The rows of an erased student stay, of a pseudonym.
CREATE TABLE group_members (
    site_id uuid NOT NULL,
    group_id uuid NOT NULL,
    student_id uuid NOT NULL,
    starts_on date NOT NULL,
    -- The last day; NULL: until further notice.
    ends_on date CHECK (ends_on >= starts_on),
    PRIMARY KEY (site_id, group_id, student_id, starts_on),
    CONSTRAINT group_members_group FOREIGN KEY (site_id, group_id) REFERENCES groups ON DELETE CASCADE,
    CONSTRAINT group_members_student FOREIGN KEY (site_id, student_id) REFERENCES students
);
CREATE INDEX group_members_student ON group_members (site_id, student_id, starts_on);

-- Nobody is in a group twice on one day. Changes of one roster take turns at its group.
CREATE FUNCTION check_group_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM groups g
        WHERE (g.site_id, g.id) IN (SELECT site_id, group_id FROM changed)
        ORDER BY g.site_id, g.id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT FROM changed c JOIN group_members m USING (site_id, group_id, student_id)
        WHERE m.starts_on <> c.starts_on
            AND daterange(m.starts_on, m.ends_on, '[]') && daterange(c.starts_on, c.ends_on, '[]'))
    THEN
        RAISE EXCEPTION 'somebody would be in a group twice on one day'
            USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'group_members_overlap';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_group_members_added AFTER INSERT ON group_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION check_group_members();
CREATE TRIGGER check_group_members_changed AFTER UPDATE ON group_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION check_group_members();

CREATE TABLE rooms (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, id),
    CONSTRAINT rooms_name UNIQUE (site_id, name)
);
INSERT INTO rooms (site_id, id, name)
    SELECT site_id, gen_random_uuid(), classroom FROM devices WHERE classroom <> '' GROUP BY site_id, classroom;

-- In which room a device is: its `classroom` is the room's name, in one place, and makes the room where there is none.
-- A room that is renamed renames it.
ALTER TABLE devices
    ADD COLUMN room_name text GENERATED ALWAYS AS (nullif(classroom, '')) STORED,
    -- What it sees: who comes, who goes, or who is there.
    ADD COLUMN room_role text NOT NULL DEFAULT 'inside' CHECK (room_role IN ('entry', 'exit', 'inside')),
    ADD CONSTRAINT devices_room FOREIGN KEY (site_id, room_name) REFERENCES rooms (site_id, name)
        DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX devices_room ON devices (site_id, room_name) WHERE room_name IS NOT NULL;

CREATE FUNCTION make_room_of_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rooms (site_id, id, name) VALUES (NEW.site_id, gen_random_uuid(), NEW.classroom)
        ON CONFLICT (site_id, name) DO NOTHING;
    RETURN NEW;
END
$$;
CREATE TRIGGER make_room_of_device BEFORE INSERT OR UPDATE OF classroom ON devices
    FOR EACH ROW WHEN (NEW.classroom <> '') EXECUTE FUNCTION make_room_of_device();

CREATE FUNCTION rename_room_of_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE devices SET classroom = NEW.name WHERE site_id = NEW.site_id AND room_name = OLD.name;
    RETURN NULL;
END
$$;
CREATE TRIGGER rename_room_of_devices AFTER UPDATE OF name ON rooms
    FOR EACH ROW WHEN (NEW.name <> OLD.name) EXECUTE FUNCTION rename_room_of_devices();

-- Files of sessions that are imported again and again: what is no longer in one is cancelled.
CREATE TABLE calendars (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    imported_at timestamptz,
    PRIMARY KEY (site_id, id),
    CONSTRAINT calendars_name UNIQUE (site_id, name)
);

CREATE TABLE class_sessions (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    group_id uuid NOT NULL,
    name text NOT NULL DEFAULT '',
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'planned'
        CHECK (state IN ('planned', 'open', 'closing', 'finalised', 'cancelled')),
    source text NOT NULL DEFAULT 'manual'
        CHECK (source IN ('manual', 'csv', 'oneroster', 'icalendar', 'pattern')),
    -- What its source calls it; of calendars, the event's UID and the start that its rule gave it.
    external_id text NOT NULL DEFAULT '',
    calendar_id uuid,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, id),
    CONSTRAINT class_sessions_time CHECK (ends_at > starts_at AND ends_at - starts_at <= interval '48 hours'),
    CONSTRAINT class_sessions_group FOREIGN KEY (site_id, group_id) REFERENCES groups,
    CONSTRAINT class_sessions_calendar FOREIGN KEY (site_id, calendar_id) REFERENCES calendars
);
CREATE INDEX class_sessions_start ON class_sessions (site_id, starts_at, id);
CREATE INDEX class_sessions_group ON class_sessions (site_id, group_id, starts_at, id);
-- What still has something before it.
CREATE INDEX class_sessions_pending ON class_sessions (starts_at) WHERE state IN ('planned', 'open', 'closing');
CREATE UNIQUE INDEX class_sessions_external_id ON class_sessions (site_id, calendar_id, external_id)
    WHERE calendar_id IS NOT NULL;

CREATE TABLE class_session_rooms (
    site_id uuid NOT NULL,
    session_id uuid NOT NULL,
    room_id uuid NOT NULL,
    PRIMARY KEY (site_id, session_id, room_id),
    CONSTRAINT class_session_rooms_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions
        ON DELETE CASCADE,
    CONSTRAINT class_session_rooms_room FOREIGN KEY (site_id, room_id) REFERENCES rooms
);
CREATE INDEX class_session_rooms_room ON class_session_rooms (site_id, room_id, session_id);

-- What attendance was finalised of stays what it was.
CREATE FUNCTION keep_finalised_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the session is finalised' USING ERRCODE = 'CV201';
END
$$;
CREATE TRIGGER keep_finalised_session BEFORE UPDATE ON class_sessions
    FOR EACH ROW WHEN (OLD.state = 'finalised' AND (NEW.state <> OLD.state OR NEW.group_id <> OLD.group_id
        OR NEW.starts_at <> OLD.starts_at OR NEW.ends_at <> OLD.ends_at))
    EXECUTE FUNCTION keep_finalised_session();
CREATE TRIGGER keep_finalised_session_row BEFORE DELETE ON class_sessions
    FOR EACH ROW WHEN (OLD.state = 'finalised') EXECUTE FUNCTION keep_finalised_session();

CREATE FUNCTION keep_finalised_session_rooms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM class_sessions
        WHERE site_id = coalesce(NEW.site_id, OLD.site_id) AND id = coalesce(NEW.session_id, OLD.session_id)
            AND state = 'finalised' FOR KEY SHARE;
    IF FOUND THEN
        RAISE EXCEPTION 'the session is finalised' USING ERRCODE = 'CV201';
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
CREATE TRIGGER keep_finalised_session_rooms BEFORE INSERT OR UPDATE OR DELETE ON class_session_rooms
    FOR EACH ROW EXECUTE FUNCTION keep_finalised_session_rooms();

-- Delivered at the commit, with the site: whoever takes attendance looks for what changed.
CREATE FUNCTION note_class_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cavs_class_sessions', site_id::text) FROM (SELECT DISTINCT site_id FROM changed) AS sites;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_class_sessions_added AFTER INSERT ON class_sessions
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_class_sessions();
CREATE TRIGGER note_class_sessions_changed AFTER UPDATE ON class_sessions
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_class_sessions();
