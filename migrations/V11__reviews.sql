-- What people say of sightings: rows that nobody changes.

CREATE TABLE reviews (
    -- UUIDv7, made by the server.
    id uuid PRIMARY KEY,
    sighting_id uuid NOT NULL REFERENCES sightings ON DELETE CASCADE,
    -- Counts the reviews of a sighting from 1, in the order of their commits. Given by a trigger.
    number integer NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('approved', 'rejected', 'flagged', 'withdrawn')),
    -- The number of the review that this one takes back: the one in force before. Given by a trigger.
    withdraws integer CHECK ((verdict = 'withdrawn') = (withdraws IS NOT NULL)),
    reviewer_id uuid NOT NULL REFERENCES users,
    reviewed_at timestamptz NOT NULL,
    notes text NOT NULL DEFAULT '',
    -- Who it really was.
    corrected_student_id uuid REFERENCES students CHECK (verdict <> 'withdrawn' OR corrected_student_id IS NULL),
    CONSTRAINT reviews_number UNIQUE (sighting_id, number)
);
-- No review is taken back twice.
CREATE UNIQUE INDEX reviews_withdraws ON reviews (sighting_id, withdraws) WHERE withdraws IS NOT NULL;

INSERT INTO reviews (id, sighting_id, number, verdict, reviewer_id, reviewed_at, notes, corrected_student_id)
SELECT gen_random_uuid(), id, 1, verdict, reviewer_id, reviewed_at, review_notes, corrected_student_id
FROM sightings WHERE verdict IS NOT NULL;

-- The review in force: the newest verdict that was not taken back. None or one row.
CREATE FUNCTION review_in_force(sighting uuid) RETURNS SETOF reviews LANGUAGE sql STABLE AS $$
    SELECT r FROM reviews r
    WHERE r.sighting_id = sighting AND r.verdict <> 'withdrawn' AND NOT EXISTS (
        SELECT FROM reviews w WHERE w.sighting_id = sighting AND w.withdraws = r.number)
    ORDER BY r.number DESC LIMIT 1
$$;

CREATE FUNCTION number_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Reviews of a sighting take turns; whoever has its row sees all that were before.
    PERFORM FROM sightings WHERE id = NEW.sighting_id FOR NO KEY UPDATE;
    NEW.number := 1 + coalesce((SELECT max(number) FROM reviews WHERE sighting_id = NEW.sighting_id), 0);
    NEW.withdraws := CASE NEW.verdict WHEN 'withdrawn'
        THEN (SELECT number FROM review_in_force(NEW.sighting_id)) END;
    NEW.reviewed_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER number_review BEFORE INSERT ON reviews FOR EACH ROW EXECUTE FUNCTION number_review();

-- Sightings say what is in force, for their generated columns and for the indexes of lists.
CREATE FUNCTION bring_review_into_force() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sightings
    SET (verdict, reviewer_id, reviewed_at, review_notes, corrected_student_id) = (
        SELECT r.verdict, r.reviewer_id, r.reviewed_at, coalesce(r.notes, ''), r.corrected_student_id
        FROM (SELECT) AS one LEFT JOIN review_in_force(NEW.sighting_id) r ON true)
    WHERE id = NEW.sighting_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER bring_review_into_force AFTER INSERT ON reviews
    FOR EACH ROW EXECUTE FUNCTION bring_review_into_force();

-- What only triggers and cascades do: who asks for it directly stands at depth 0.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: reviews are added, never changed', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER reviews_stay BEFORE UPDATE OR DELETE ON reviews
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER verdicts_come_from_reviews
    BEFORE UPDATE OF verdict, reviewer_id, reviewed_at, review_notes, corrected_student_id ON sightings
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change();

-- Filters that are set together. What the machine was sure of is most of what there is: an index of the room or
-- the device finds a page of it. What it was not sure of is a tenth, and has indexes of its own.
CREATE INDEX sightings_device_unsure ON sightings (device_id, decision, listed_at DESC, id DESC)
    WHERE decision <> 'accepted';
CREATE INDEX sightings_classroom_unsure ON sightings (classroom, decision, listed_at DESC, id DESC)
    WHERE decision <> 'accepted';
CREATE INDEX sightings_queue_device ON sightings (device_id, listed_at, id) WHERE in_queue;
CREATE INDEX sightings_queue_classroom ON sightings (classroom, listed_at, id) WHERE in_queue;
-- With the decision, so that those of one decision are counted in the index.
DROP INDEX sightings_device, sightings_classroom;
CREATE INDEX sightings_device ON sightings (device_id, listed_at DESC, id DESC) INCLUDE (decision);
CREATE INDEX sightings_classroom ON sightings (classroom, listed_at DESC, id DESC) INCLUDE (decision);
-- A device is in one room for most of its life: both together choose no fewer sightings than one of them.
CREATE STATISTICS sightings_rooms (dependencies) ON device_id, classroom FROM sightings;
