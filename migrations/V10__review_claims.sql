-- Sightings of the queue that one person alone decides: who has claimed them for a while, or was given them by
-- somebody until they are decided.
CREATE TABLE review_claims (
    site_id uuid NOT NULL,
    sighting_id uuid NOT NULL,
    reviewer_id uuid NOT NULL REFERENCES users,
    -- 'infinity' for what was assigned.
    claimed_until timestamptz NOT NULL,
    assigned_by uuid REFERENCES users,
    PRIMARY KEY (site_id, sighting_id),
    CONSTRAINT review_claims_sighting FOREIGN KEY (site_id, sighting_id) REFERENCES sightings ON DELETE CASCADE,
    CONSTRAINT review_claims_assigned CHECK ((assigned_by IS NOT NULL) = (claimed_until = 'infinity'))
);
CREATE INDEX review_claims_reviewer ON review_claims (site_id, reviewer_id);

-- Verdicts that were given together, on a visit or on all that a filter chose: they are taken back together.
ALTER TABLE reviews ADD COLUMN batch_id uuid;
ALTER TABLE sightings ADD COLUMN review_batch_id uuid;
CREATE INDEX sightings_review_batch ON sightings (site_id, review_batch_id) WHERE review_batch_id IS NOT NULL;
-- Of somebody who is in several sightings of one device: the visits of a queue.
CREATE INDEX sightings_queue_visit ON sightings (site_id, device_id, predicted_student_id, listed_at, id) WHERE in_queue;

CREATE OR REPLACE FUNCTION number_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Reviews of a sighting take turns; whoever has its row sees all that were before.
    PERFORM FROM sightings WHERE site_id = NEW.site_id AND id = NEW.sighting_id FOR NO KEY UPDATE;
    -- Somebody may have claimed it while this waited.
    IF NEW.verdict <> 'withdrawn' AND EXISTS (
        SELECT FROM sightings s JOIN review_claims c ON c.site_id = s.site_id AND c.sighting_id = s.id
        WHERE s.site_id = NEW.site_id AND s.id = NEW.sighting_id AND s.in_queue
            AND c.claimed_until > now() AND c.reviewer_id <> NEW.reviewer_id)
    THEN
        RETURN NULL;
    END IF;
    NEW.number := 1 + coalesce(
        (SELECT max(number) FROM reviews WHERE site_id = NEW.site_id AND sighting_id = NEW.sighting_id), 0);
    NEW.withdraws := CASE NEW.verdict WHEN 'withdrawn'
        THEN (SELECT number FROM review_in_force(NEW.site_id, NEW.sighting_id)) END;
    NEW.reviewed_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION bring_review_into_force() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sightings
    SET (verdict, reviewer_id, reviewed_at, review_notes, corrected_student_id, review_batch_id) = (
        SELECT r.verdict, r.reviewer_id, r.reviewed_at, coalesce(r.notes, ''), r.corrected_student_id, r.batch_id
        FROM (SELECT) AS one LEFT JOIN review_in_force(NEW.site_id, NEW.sighting_id) r ON true)
    WHERE site_id = NEW.site_id AND id = NEW.sighting_id;
    -- What was claimed is decided, or goes to somebody else.
    DELETE FROM review_claims WHERE site_id = NEW.site_id AND sighting_id = NEW.sighting_id;
    RETURN NULL;
END
$$;
DROP TRIGGER verdicts_come_from_reviews ON sightings;
CREATE TRIGGER verdicts_come_from_reviews
    BEFORE UPDATE OF verdict, reviewer_id, reviewed_at, review_notes, corrected_student_id, review_batch_id ON sightings
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse_change();

-- Sightings of the queue of one device with one predicted student are one visit where each is no longer after the one
-- before it than this.
CREATE FUNCTION visit_gap() RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '5 minutes' $$;

-- The sightings of the queue of one visit with a sighting, itself first, at most 200 on either side of it. What somebody
-- has flagged is by itself.
CREATE FUNCTION visit_of(site uuid, sighting uuid) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE later AS (
        SELECT s.id, s.listed_at, s.device_id,
            CASE WHEN s.verdict IS NULL THEN s.predicted_student_id END AS predicted_student_id, 1 AS place
        FROM sightings s WHERE s.site_id = site AND s.id = sighting
        UNION ALL
        SELECT n.id, n.listed_at, v.device_id, v.predicted_student_id, v.place + 1
        FROM later v CROSS JOIN LATERAL (
            SELECT n.id, n.listed_at FROM sightings n
            WHERE n.site_id = site AND n.in_queue AND n.verdict IS NULL AND n.device_id = v.device_id
                AND n.predicted_student_id = v.predicted_student_id
                AND (n.listed_at, n.id) > (v.listed_at, v.id) AND n.listed_at <= v.listed_at + visit_gap()
            ORDER BY n.listed_at, n.id LIMIT 1) AS n
        WHERE v.place <= 200
    ), earlier AS (
        SELECT * FROM later WHERE place = 1
        UNION ALL
        SELECT n.id, n.listed_at, v.device_id, v.predicted_student_id, v.place + 1
        FROM earlier v CROSS JOIN LATERAL (
            SELECT n.id, n.listed_at FROM sightings n
            WHERE n.site_id = site AND n.in_queue AND n.verdict IS NULL AND n.device_id = v.device_id
                AND n.predicted_student_id = v.predicted_student_id
                AND (n.listed_at, n.id) < (v.listed_at, v.id) AND n.listed_at >= v.listed_at - visit_gap()
            ORDER BY n.listed_at DESC, n.id DESC LIMIT 1) AS n
        WHERE v.place <= 200)
    SELECT id FROM later UNION ALL (SELECT id FROM earlier WHERE place > 1)
$$;
