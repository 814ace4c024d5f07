-- What class sessions say of people: one mark for each person and session, which a pure function of the records makes
-- (`server/attendance`), and what people say beside it.

-- Settings that a site, a group or a session has otherwise; see `cavs_attendance::PolicyOverride`.
CREATE TABLE attendance_policies (
    site_id uuid NOT NULL REFERENCES sites,
    -- Both NULL: the site's.
    group_id uuid,
    session_id uuid,
    settings jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by uuid NOT NULL REFERENCES users,
    CONSTRAINT attendance_policies_one CHECK (group_id IS NULL OR session_id IS NULL),
    CONSTRAINT attendance_policies_group FOREIGN KEY (site_id, group_id) REFERENCES groups ON DELETE CASCADE,
    CONSTRAINT attendance_policies_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions
        ON DELETE CASCADE
);
CREATE UNIQUE INDEX attendance_policies_of ON attendance_policies (site_id,
    coalesce(group_id, '00000000-0000-0000-0000-000000000000'),
    coalesce(session_id, '00000000-0000-0000-0000-000000000000'));

-- From when to when what a device sees counts for a session. Written when the session opens, so that a device that is
-- moved afterwards has been where it was.
CREATE TABLE attendance_windows (
    site_id uuid NOT NULL,
    session_id uuid NOT NULL,
    device_id uuid NOT NULL,
    -- Of the session, where the device was when the session opened.
    room_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('entry', 'exit', 'inside')),
    opens_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    -- From when and until when the device was in the room, where it came or went while the session was open.
    came_at timestamptz,
    gone_at timestamptz,
    PRIMARY KEY (site_id, session_id, device_id),
    CONSTRAINT attendance_windows_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions
        ON DELETE CASCADE,
    CONSTRAINT attendance_windows_room FOREIGN KEY (site_id, room_id) REFERENCES rooms,
    CONSTRAINT attendance_windows_device FOREIGN KEY (site_id, device_id) REFERENCES devices
);
CREATE INDEX attendance_windows_device ON attendance_windows (site_id, device_id, closes_at);

-- Sessions whose marks are to be made anew. A row for each cause, not for each session: whoever takes the rows takes
-- those that were committed, and what is committed afterwards leaves a row of its own.
CREATE TABLE attendance_queue (
    site_id uuid NOT NULL,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    session_id uuid NOT NULL,
    PRIMARY KEY (site_id, id),
    CONSTRAINT attendance_queue_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions
        ON DELETE CASCADE
);
CREATE INDEX attendance_queue_session ON attendance_queue (site_id, session_id);

-- What a session says beside its marks, and under which policy; see `cavs_attendance::Attendance`.
CREATE TABLE attendance_sheets (
    site_id uuid NOT NULL,
    session_id uuid NOT NULL,
    policy jsonb NOT NULL,
    -- Why nobody is absent for not having been seen; empty where they are.
    unproven jsonb NOT NULL,
    -- Who was recognised and is not on the roster.
    visitors jsonb NOT NULL,
    evaluated_at timestamptz NOT NULL,
    -- When the marks are final by themselves; NULL: they are not.
    final_at timestamptz,
    PRIMARY KEY (site_id, session_id),
    CONSTRAINT attendance_sheets_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions
);

-- Somebody has shown that they are there by something else than their face.
CREATE TABLE check_ins (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    student_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('qr', 'card', 'pin')),
    checked_in_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by uuid NOT NULL REFERENCES users,
    PRIMARY KEY (site_id, id),
    -- Said twice, it is one.
    CONSTRAINT check_ins_once UNIQUE (site_id, session_id, student_id, kind, checked_in_at),
    CONSTRAINT check_ins_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions,
    CONSTRAINT check_ins_student FOREIGN KEY (site_id, student_id) REFERENCES students
);

-- A person's word on a mark. The last that was not taken back is in force; the machine's mark stays beside it.
CREATE TABLE corrections (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    student_id uuid NOT NULL,
    mark text NOT NULL CHECK (mark IN ('present', 'late', 'left_early', 'absent', 'excused', 'undetermined')),
    source text NOT NULL CHECK (source IN ('correction', 'roll_call', 'appeal', 'late_data')),
    reason text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    made_by uuid NOT NULL REFERENCES users,
    withdrawn_at timestamptz,
    withdrawn_by uuid REFERENCES users,
    PRIMARY KEY (site_id, id),
    CONSTRAINT corrections_withdrawn CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL)),
    CONSTRAINT corrections_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions,
    CONSTRAINT corrections_student FOREIGN KEY (site_id, student_id) REFERENCES students
);
CREATE INDEX corrections_mark ON corrections (site_id, session_id, student_id, made_at, id);

-- Times in which somebody need not be there.
CREATE TABLE excuses (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    student_id uuid NOT NULL,
    starts_at timestamptz NOT NULL,
    -- The moment after the last.
    ends_at timestamptz NOT NULL CHECK (ends_at > starts_at),
    reason text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT now(),
    made_by uuid NOT NULL REFERENCES users,
    withdrawn_at timestamptz,
    withdrawn_by uuid REFERENCES users,
    PRIMARY KEY (site_id, id),
    CONSTRAINT excuses_withdrawn CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL)),
    CONSTRAINT excuses_student FOREIGN KEY (site_id, student_id) REFERENCES students
);
CREATE INDEX excuses_student ON excuses (site_id, student_id, starts_at);
CREATE INDEX excuses_start ON excuses (site_id, starts_at DESC, id DESC);

-- What a session says of each person of its roster.
CREATE TABLE marks (
    site_id uuid NOT NULL,
    session_id uuid NOT NULL,
    student_id uuid NOT NULL,
    mark text NOT NULL CHECK (mark IN ('present', 'late', 'left_early', 'absent', 'excused', 'undetermined')),
    -- What the records say without anybody's word on the mark.
    machine_mark text NOT NULL
        CHECK (machine_mark IN ('present', 'late', 'left_early', 'absent', 'excused', 'undetermined')),
    correction_id uuid,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    minutes_present integer NOT NULL DEFAULT 0,
    minutes_late integer NOT NULL DEFAULT 0,
    minutes_left_early integer NOT NULL DEFAULT 0,
    -- What proves it, and the rules that led to it; see `cavs_attendance::PersonMark`.
    evidence jsonb NOT NULL,
    rules jsonb NOT NULL,
    -- They have left the roster since.
    is_listed boolean NOT NULL DEFAULT true,
    -- Counts the changes of the mark from 1. Given by a trigger.
    number integer NOT NULL DEFAULT 1,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, session_id, student_id),
    CONSTRAINT marks_session FOREIGN KEY (site_id, session_id) REFERENCES class_sessions,
    CONSTRAINT marks_student FOREIGN KEY (site_id, student_id) REFERENCES students,
    CONSTRAINT marks_correction FOREIGN KEY (site_id, correction_id) REFERENCES corrections
);
CREATE INDEX marks_student ON marks (site_id, student_id, session_id);

-- What marks were before. Rows that nobody changes.
CREATE TABLE mark_changes (
    site_id uuid NOT NULL,
    session_id uuid NOT NULL,
    student_id uuid NOT NULL,
    number integer NOT NULL,
    mark text NOT NULL,
    machine_mark text NOT NULL,
    correction_id uuid,
    is_listed boolean NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (site_id, session_id, student_id, number),
    CONSTRAINT mark_changes_mark FOREIGN KEY (site_id, session_id, student_id) REFERENCES marks
);

CREATE FUNCTION number_mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.number := OLD.number + 1;
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER number_mark BEFORE UPDATE ON marks FOR EACH ROW
    WHEN ((NEW.mark, NEW.machine_mark, NEW.is_listed, NEW.correction_id)
        IS DISTINCT FROM (OLD.mark, OLD.machine_mark, OLD.is_listed, OLD.correction_id))
    EXECUTE FUNCTION number_mark();

CREATE FUNCTION note_mark_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO mark_changes (site_id, session_id, student_id, number, mark, machine_mark, correction_id, is_listed,
            changed_at)
        SELECT site_id, session_id, student_id, number, mark, machine_mark, correction_id, is_listed, changed_at
        FROM changed
        ON CONFLICT (site_id, session_id, student_id, number) DO NOTHING;
    -- Delivered at the commit: site and session.
    PERFORM pg_notify('cavs_marks', site_id::text || ' ' || session_id::text)
        FROM (SELECT DISTINCT site_id, session_id FROM changed) AS sessions;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_mark_added AFTER INSERT ON marks
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_mark_change();
CREATE TRIGGER note_mark_changed AFTER UPDATE ON marks
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_mark_change();
CREATE TRIGGER mark_changes_stay BEFORE UPDATE OR DELETE ON mark_changes
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change();

-- What came to be known after a session's marks were final: a person decides.
CREATE TABLE mark_proposals (
    site_id uuid NOT NULL,
    session_id uuid NOT NULL,
    student_id uuid NOT NULL,
    machine_mark text NOT NULL
        CHECK (machine_mark IN ('present', 'late', 'left_early', 'absent', 'excused', 'undetermined')),
    evidence jsonb NOT NULL,
    rules jsonb NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'dismissed')),
    proposed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_at timestamptz,
    decided_by uuid REFERENCES users,
    PRIMARY KEY (site_id, session_id, student_id),
    CONSTRAINT mark_proposals_decided
        CHECK ((state = 'open') = (decided_at IS NULL) AND (state = 'open') = (decided_by IS NULL)),
    CONSTRAINT mark_proposals_mark FOREIGN KEY (site_id, session_id, student_id) REFERENCES marks
);
CREATE INDEX mark_proposals_open ON mark_proposals (site_id, proposed_at, session_id, student_id)
    WHERE state = 'open';

-- What people say against their mark.
CREATE TABLE appeals (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    student_id uuid NOT NULL,
    -- What it should be.
    mark text NOT NULL CHECK (mark IN ('present', 'late', 'left_early', 'absent', 'excused', 'undetermined')),
    reason text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    -- Who wrote it down.
    made_by uuid NOT NULL REFERENCES users,
    -- By when it is to be decided.
    due_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'rejected', 'withdrawn')),
    answer text NOT NULL DEFAULT '',
    decided_at timestamptz,
    decided_by uuid REFERENCES users,
    PRIMARY KEY (site_id, id),
    CONSTRAINT appeals_decided
        CHECK ((state = 'open') = (decided_at IS NULL) AND (state = 'open') = (decided_by IS NULL)),
    CONSTRAINT appeals_mark FOREIGN KEY (site_id, session_id, student_id) REFERENCES marks
);
CREATE UNIQUE INDEX appeals_open ON appeals (site_id, session_id, student_id) WHERE state = 'open';
CREATE INDEX appeals_due ON appeals (site_id, state, due_at, id);

-- What changes marks leaves its session in the queue. Sessions that have not begun are in nobody's way.
CREATE FUNCTION queue_sessions(site uuid, sessions uuid[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT c.site_id, c.id FROM class_sessions c
    WHERE c.site_id = site AND c.id = ANY(sessions) AND c.state IN ('open', 'closing', 'finalised')
$$;

CREATE FUNCTION queue_sessions_of_sightings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT DISTINCT w.site_id, w.session_id
    FROM (
        SELECT site_id, device_id,
            min(CASE WHEN time_implausible THEN received_at ELSE coalesce(track_entered_at, captured_at) END) AS first,
            max(CASE WHEN time_implausible THEN received_at ELSE coalesce(track_last_seen_at, captured_at) END) AS last
        FROM changed GROUP BY site_id, device_id
    ) AS s JOIN attendance_windows w USING (site_id, device_id)
    WHERE w.closes_at >= s.first AND w.opens_at <= s.last;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_added AFTER INSERT ON sightings
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_of_sightings();

CREATE FUNCTION queue_sessions_of_reviewed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT DISTINCT w.site_id, w.session_id
    FROM changed s JOIN before b USING (site_id, id)
        JOIN attendance_windows w ON w.site_id = s.site_id AND w.device_id = s.device_id
    WHERE (s.student_id, s.verdict, s.in_queue) IS DISTINCT FROM (b.student_id, b.verdict, b.in_queue)
        AND w.closes_at >= CASE WHEN s.time_implausible THEN s.received_at
            ELSE coalesce(s.track_entered_at, s.captured_at) END
        AND w.opens_at <= CASE WHEN s.time_implausible THEN s.received_at
            ELSE coalesce(s.track_last_seen_at, s.captured_at) END;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_reviewed AFTER UPDATE ON sightings
    REFERENCING NEW TABLE AS changed OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_of_reviewed();

-- Of a row that names its session.
CREATE FUNCTION queue_session_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue_sessions(NEW.site_id, ARRAY[NEW.session_id]);
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_session_corrected AFTER INSERT OR UPDATE ON corrections
    FOR EACH ROW EXECUTE FUNCTION queue_session_of_row();
CREATE TRIGGER queue_session_checked_in AFTER INSERT ON check_ins
    FOR EACH ROW EXECUTE FUNCTION queue_session_of_row();
CREATE TRIGGER queue_session_of_room AFTER INSERT ON class_session_rooms
    FOR EACH ROW EXECUTE FUNCTION queue_session_of_row();

CREATE FUNCTION queue_sessions_of_excuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue_sessions(NEW.site_id, array_agg(c.id))
    FROM class_sessions c JOIN group_members m ON m.site_id = c.site_id AND m.group_id = c.group_id
    WHERE c.site_id = NEW.site_id AND m.student_id = NEW.student_id
        AND c.starts_at < NEW.ends_at AND c.ends_at > NEW.starts_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_excused AFTER INSERT OR UPDATE ON excuses
    FOR EACH ROW EXECUTE FUNCTION queue_sessions_of_excuse();

-- Rosters change for days, in the site's zone: a day more at each end is safe.
CREATE FUNCTION queue_sessions_of_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT DISTINCT c.site_id, c.id FROM changed m JOIN class_sessions c USING (site_id, group_id)
    WHERE c.state IN ('open', 'closing', 'finalised') AND c.starts_at >= m.starts_on - interval '1 day'
        AND (m.ends_on IS NULL OR c.starts_at < m.ends_on + interval '2 days');
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_joined AFTER INSERT ON group_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_of_members();
-- Both those of the days before and those of the days after.
CREATE FUNCTION queue_sessions_of_changed_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT DISTINCT c.site_id, c.id
    FROM (SELECT * FROM changed UNION ALL SELECT * FROM before) AS m JOIN class_sessions c USING (site_id, group_id)
    WHERE c.state IN ('open', 'closing', 'finalised') AND c.starts_at >= m.starts_on - interval '1 day'
        AND (m.ends_on IS NULL OR c.starts_at < m.ends_on + interval '2 days');
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_moved AFTER UPDATE ON group_members
    REFERENCING NEW TABLE AS changed OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_of_changed_members();
CREATE TRIGGER queue_sessions_left AFTER DELETE ON group_members
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_of_members();

CREATE FUNCTION queue_sessions_themselves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT c.site_id, c.id FROM changed c WHERE c.state IN ('open', 'closing');
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_changed AFTER UPDATE ON class_sessions
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_themselves();

CREATE FUNCTION queue_sessions_of_policy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT c.site_id, c.id FROM class_sessions c
    WHERE c.site_id = coalesce(NEW.site_id, OLD.site_id) AND c.state IN ('open', 'closing')
        AND c.id = coalesce(NEW.session_id, OLD.session_id, c.id)
        AND c.group_id = coalesce(NEW.group_id, OLD.group_id, c.group_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_of_policy AFTER INSERT OR UPDATE OR DELETE ON attendance_policies
    FOR EACH ROW EXECUTE FUNCTION queue_sessions_of_policy();

-- What a device has watched and delivered decides what it means that somebody was not seen. Before the end it means
-- nothing. All periods up to a time are there when the device says that it has delivered up to it, which queues the
-- sessions that end before; what else is said of a time that was delivered, is that it was worse than it seemed. A
-- period that goes on is said with what was there before: only its end is new.
CREATE FUNCTION queue_sessions_of_watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT DISTINCT w.site_id, w.session_id
    FROM changed p JOIN attendance_windows w USING (site_id, device_id)
        JOIN class_sessions c ON c.site_id = w.site_id AND c.id = w.session_id
    WHERE p.state <> 'watching' AND w.closes_at > greatest(p.started_at, p.ended_at - interval '6 hours')
        AND w.opens_at < p.ended_at AND c.state IN ('closing', 'finalised');
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_watched AFTER INSERT ON watched_periods
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_of_watch();
CREATE TRIGGER queue_sessions_watched_on AFTER UPDATE ON watched_periods
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_sessions_of_watch();

CREATE FUNCTION queue_sessions_of_maintenance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT w.site_id, w.session_id
    FROM attendance_windows w JOIN class_sessions c ON c.site_id = w.site_id AND c.id = w.session_id
    WHERE w.site_id = NEW.site_id AND w.device_id = NEW.device_id AND w.closes_at > NEW.started_at
        AND w.opens_at < coalesce(NEW.ended_at, 'infinity') AND c.state IN ('closing', 'finalised');
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_maintained AFTER INSERT OR UPDATE ON device_maintenance
    FOR EACH ROW EXECUTE FUNCTION queue_sessions_of_maintenance();

-- A device that comes into a room, or goes, changes who looks at a session that is open.
CREATE FUNCTION queue_sessions_of_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT DISTINCT c.site_id, c.id
    FROM rooms r JOIN class_session_rooms x ON x.site_id = r.site_id AND x.room_id = r.id
        JOIN class_sessions c ON c.site_id = x.site_id AND c.id = x.session_id
    WHERE r.site_id = NEW.site_id AND c.state = 'open'
        AND r.name IN (NEW.classroom, CASE TG_OP WHEN 'UPDATE' THEN OLD.classroom END);
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_of_new_device AFTER INSERT ON devices
    FOR EACH ROW EXECUTE FUNCTION queue_sessions_of_device();
CREATE TRIGGER queue_sessions_of_moved_device AFTER UPDATE OF classroom, room_role, status ON devices
    FOR EACH ROW WHEN ((NEW.classroom, NEW.room_role, NEW.status)
        IS DISTINCT FROM (OLD.classroom, OLD.room_role, OLD.status))
    EXECUTE FUNCTION queue_sessions_of_device();

CREATE FUNCTION queue_sessions_of_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
    SELECT w.site_id, w.session_id
    FROM attendance_windows w JOIN class_sessions c ON c.site_id = w.site_id AND c.id = w.session_id
    WHERE w.site_id = NEW.site_id AND w.device_id = NEW.id
        AND w.closes_at >= coalesce(OLD.delivered_until, '-infinity')
        AND c.ends_at > coalesce(OLD.delivered_until, '-infinity') AND c.ends_at <= NEW.delivered_until
        AND c.state IN ('closing', 'finalised');
    RETURN NULL;
END
$$;
CREATE TRIGGER queue_sessions_delivered AFTER UPDATE OF delivered_until ON devices
    FOR EACH ROW WHEN (NEW.delivered_until IS DISTINCT FROM OLD.delivered_until)
    EXECUTE FUNCTION queue_sessions_of_delivery();

-- What people wrote of somebody goes with their name.
CREATE FUNCTION forget_words_of_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE excuses SET reason = '' WHERE site_id = NEW.site_id AND student_id = NEW.id AND reason <> '';
    UPDATE corrections SET reason = '' WHERE site_id = NEW.site_id AND student_id = NEW.id AND reason <> '';
    UPDATE appeals SET reason = '', answer = ''
        WHERE site_id = NEW.site_id AND student_id = NEW.id AND (reason <> '' OR answer <> '');
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_words_of_erased AFTER UPDATE OF erased_at ON students
    FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL) EXECUTE FUNCTION forget_words_of_erased();
ALTER TABLE excuses ALTER COLUMN reason SET STATISTICS 0;
ALTER TABLE corrections ALTER COLUMN reason SET STATISTICS 0;
ALTER TABLE appeals ALTER COLUMN reason SET STATISTICS 0, ALTER COLUMN answer SET STATISTICS 0;
