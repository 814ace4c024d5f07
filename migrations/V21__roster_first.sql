-- Who is expected in a room is looked up first, and marks follow a room that is being filled.

ALTER TABLE sightings
    -- Among whom the best candidate was judged: those expected there and then, or everybody of the site.
    ADD COLUMN scope text NOT NULL DEFAULT 'site' CHECK (scope IN ('roster', 'site')),
    -- Templates of those; NULL: nobody noted it.
    ADD COLUMN scope_templates integer;

-- Who is expected where is read for a day: windows that reach into it.
CREATE INDEX attendance_windows_time ON attendance_windows (site_id, closes_at);

-- Delivered at the commit, with the site: every server reads anew who is expected where.
CREATE FUNCTION note_rosters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cavs_rosters', site_id::text) FROM (SELECT DISTINCT site_id FROM changed) AS sites;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_rosters_joined AFTER INSERT ON group_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_rosters();
CREATE TRIGGER note_rosters_moved AFTER UPDATE ON group_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_rosters();
CREATE TRIGGER note_rosters_left AFTER DELETE ON group_members
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_rosters();
CREATE TRIGGER note_rosters_opened AFTER INSERT ON attendance_windows
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_rosters();
CREATE TRIGGER note_rosters_shifted AFTER UPDATE ON attendance_windows
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_rosters();
CREATE TRIGGER note_rosters_closed AFTER DELETE ON attendance_windows
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_rosters();

CREATE FUNCTION note_roster() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cavs_rosters', NEW.site_id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_roster_changed AFTER UPDATE OF group_id, starts_at, state ON class_sessions
    FOR EACH ROW WHEN ((NEW.group_id, NEW.starts_at, NEW.state = 'cancelled')
        IS DISTINCT FROM (OLD.group_id, OLD.starts_at, OLD.state = 'cancelled'))
    EXECUTE FUNCTION note_roster();

-- A day is another one by other clocks: rosters are of days, and so are the sessions that they are for.
CREATE FUNCTION note_time_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id)
        SELECT site_id, id FROM class_sessions WHERE site_id = NEW.id AND state IN ('open', 'closing');
    PERFORM pg_notify('cavs_rosters', NEW.id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_time_zone AFTER UPDATE OF time_zone ON sites
    FOR EACH ROW WHEN (NEW.time_zone <> OLD.time_zone) EXECUTE FUNCTION note_time_zone();

-- The sightings that a session is in the queue for: they are read alone by whoever knows the others. NULL: anything may
-- have changed.
ALTER TABLE attendance_queue ADD COLUMN sighting_ids uuid[];

ALTER TABLE attendance_sheets
    -- Counts the times that the marks were made: whoever has made them the last time knows what they are of.
    ADD COLUMN renewal bigint NOT NULL DEFAULT 0,
    -- The keeper that knows it, and until when the others leave the session to it.
    ADD COLUMN kept_by uuid,
    ADD COLUMN kept_until timestamptz;

-- Those that show nobody change no mark.
CREATE OR REPLACE FUNCTION queue_sessions_of_sightings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attendance_queue (site_id, session_id, sighting_ids)
    SELECT w.site_id, w.session_id, array_agg(s.id)
    FROM (
        SELECT site_id, device_id, id,
            CASE WHEN time_implausible THEN received_at ELSE coalesce(track_entered_at, captured_at) END AS first,
            CASE WHEN time_implausible THEN received_at ELSE coalesce(track_last_seen_at, captured_at) END AS last
        FROM changed WHERE student_id IS NOT NULL OR in_queue
    ) AS s JOIN attendance_windows w USING (site_id, device_id)
    WHERE w.closes_at >= s.first AND w.opens_at <= s.last
    GROUP BY w.site_id, w.session_id;
    RETURN NULL;
END
$$;
