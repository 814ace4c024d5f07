-- Sightings, and what people say of them. Their faces are in tables of their own.

CREATE TABLE sightings (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    device_id uuid NOT NULL,
    -- Whose spool it went through, which is who numbered it: the device's own, or a proxy's. A camera that moves to
    -- another proxy keeps its id.
    via uuid NOT NULL,
    -- The start of the agent that numbered it, drawn at random: a clock is no identity. The nil id where the agent
    -- doesn't say it.
    run_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    boot_epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    -- The room of the device at the time.
    classroom text NOT NULL,
    captured_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    -- Which day it came, in UTC: where its faces are.
    day date NOT NULL GENERATED ALWAYS AS ((received_at AT TIME ZONE 'UTC')::date) STORED,
    -- captured_at (or a time of the track) is too far from the server's clock to be believed; see
    -- `CapturedSighting::time_is_plausible`. Such a sighting stands in lists where it was received: its own time
    -- would keep it at their head or their end for ever.
    time_implausible boolean NOT NULL DEFAULT false,
    listed_at timestamptz NOT NULL
        GENERATED ALWAYS AS (CASE WHEN time_implausible THEN received_at ELSE captured_at END) STORED,
    frame text NOT NULL,
    -- How far captured_at can be trusted, as the device says.
    clock_trust text NOT NULL CHECK (clock_trust IN ('unknown', 'synchronised', 'corrected', 'unsynchronised')),
    clock_uncertainty_ms bigint,
    -- The track that the sighting stands for; NULL where every face of every frame is a sighting.
    track_id bigint,
    track_entered_at timestamptz,
    track_last_seen_at timestamptz,
    track_left boolean,
    box_x real NOT NULL,
    box_y real NOT NULL,
    box_width real NOT NULL,
    box_height real NOT NULL,
    detection_score real NOT NULL,
    quality jsonb NOT NULL,
    liveness real,
    pack_digest bytea NOT NULL CHECK (octet_length(pack_digest) = 32),

    -- The prediction: written once, never changed.
    decision text NOT NULL CHECK (decision IN ('accepted', 'pending', 'unknown')),
    reason text NOT NULL,
    predicted_student_id uuid,
    similarity real,
    margin real,
    -- What decided, and of which version of the thresholds it is.
    threshold real NOT NULL,
    threshold_version integer NOT NULL DEFAULT 0,
    candidates jsonb NOT NULL,

    -- The review in force: written by the trigger of `reviews` alone.
    verdict text CHECK (verdict IN ('approved', 'rejected', 'flagged')),
    reviewer_id uuid REFERENCES users,
    reviewed_at timestamptz,
    review_notes text NOT NULL DEFAULT '',
    corrected_student_id uuid,

    -- Who it was: a person's word before the machine's.
    student_id uuid GENERATED ALWAYS AS (
        CASE verdict
            WHEN 'approved' THEN coalesce(corrected_student_id, predicted_student_id)
            WHEN 'rejected' THEN corrected_student_id
            ELSE CASE decision WHEN 'accepted' THEN predicted_student_id END
        END
    ) STORED,
    -- Whether it waits for a person.
    in_queue boolean GENERATED ALWAYS AS (
        CASE WHEN verdict IS NULL THEN decision = 'pending' ELSE verdict = 'flagged' END
    ) STORED,

    PRIMARY KEY (site_id, id),
    -- What makes delivery exactly-once.
    CONSTRAINT sightings_key UNIQUE (site_id, device_id, via, run_id, boot_epoch, sequence),
    CONSTRAINT sightings_device_id FOREIGN KEY (site_id, device_id) REFERENCES devices,
    CONSTRAINT sightings_via FOREIGN KEY (site_id, via) REFERENCES devices,
    CONSTRAINT sightings_predicted FOREIGN KEY (site_id, predicted_student_id) REFERENCES students,
    CONSTRAINT sightings_corrected FOREIGN KEY (site_id, corrected_student_id) REFERENCES students,
    CONSTRAINT sightings_track CHECK ((track_id IS NULL) = (track_entered_at IS NULL)
        AND (track_id IS NULL) = (track_last_seen_at IS NULL) AND (track_id IS NULL) = (track_left IS NULL)),
    CONSTRAINT sightings_prediction CHECK ((decision = 'unknown') = (predicted_student_id IS NULL)),
    CONSTRAINT sightings_review CHECK ((verdict IS NULL) = (reviewer_id IS NULL)
        AND (verdict IS NULL) = (reviewed_at IS NULL))
);

-- One for each filter of the lists, in their order. Retention reads them by the first, too.
CREATE INDEX sightings_listed ON sightings (site_id, listed_at DESC, id DESC);
CREATE INDEX sightings_queue ON sightings (site_id, listed_at, id) WHERE in_queue;
CREATE INDEX sightings_student ON sightings (site_id, student_id, listed_at DESC, id DESC)
    WHERE student_id IS NOT NULL;
CREATE INDEX sightings_decision ON sightings (site_id, decision, listed_at DESC, id DESC);
-- With what is asked for beside a device or a room, so that it is counted in the index: the decision, and the room.
CREATE INDEX sightings_device ON sightings (site_id, device_id, listed_at DESC, id DESC) INCLUDE (decision, classroom);
CREATE INDEX sightings_classroom ON sightings (site_id, classroom, listed_at DESC, id DESC) INCLUDE (decision);
-- Filters that are set together. What the machine was sure of is most of what there is: an index of the room or the
-- device finds a page of it. What it was not sure of is a tenth, and has indexes of its own.
CREATE INDEX sightings_device_unsure ON sightings (site_id, device_id, decision, listed_at DESC, id DESC)
    WHERE decision <> 'accepted';
CREATE INDEX sightings_classroom_unsure ON sightings (site_id, classroom, decision, listed_at DESC, id DESC)
    WHERE decision <> 'accepted';
CREATE INDEX sightings_queue_device ON sightings (site_id, device_id, listed_at, id) WHERE in_queue;
CREATE INDEX sightings_queue_classroom ON sightings (site_id, classroom, listed_at, id) WHERE in_queue;
-- What new thresholds would have decided is asked of a pack's latest sightings.
CREATE INDEX sightings_pack ON sightings (site_id, pack_digest, listed_at DESC);
-- A device is in one room for most of its life: both together choose no fewer sightings than one of them.
CREATE STATISTICS sightings_rooms (dependencies) ON device_id, classroom FROM sightings;

-- Rows that nobody changes.
CREATE TABLE reviews (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    sighting_id uuid NOT NULL,
    -- Counts the reviews of a sighting from 1, in the order of their commits. Given by a trigger.
    number integer NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('approved', 'rejected', 'flagged', 'withdrawn')),
    -- The number of the review that this one takes back: the one in force before. Given by a trigger.
    withdraws integer,
    reviewer_id uuid NOT NULL REFERENCES users,
    reviewed_at timestamptz NOT NULL,
    notes text NOT NULL DEFAULT '',
    -- Who it really was.
    corrected_student_id uuid,
    PRIMARY KEY (site_id, id),
    CONSTRAINT reviews_number UNIQUE (site_id, sighting_id, number),
    CONSTRAINT reviews_sighting FOREIGN KEY (site_id, sighting_id) REFERENCES sightings ON DELETE CASCADE,
    CONSTRAINT reviews_corrected FOREIGN KEY (site_id, corrected_student_id) REFERENCES students,
    CONSTRAINT reviews_withdrawn CHECK ((verdict = 'withdrawn') = (withdraws IS NOT NULL)
        AND (verdict <> 'withdrawn' OR corrected_student_id IS NULL))
);
-- No review is taken back twice.
CREATE UNIQUE INDEX reviews_withdraws ON reviews (site_id, sighting_id, withdraws) WHERE withdraws IS NOT NULL;

-- The review in force: the newest verdict that was not taken back. None or one row.
CREATE FUNCTION review_in_force(site uuid, sighting uuid) RETURNS SETOF reviews LANGUAGE sql STABLE AS $$
    SELECT r FROM reviews r
    WHERE r.site_id = site AND r.sighting_id = sighting AND r.verdict <> 'withdrawn' AND NOT EXISTS (
        SELECT FROM reviews w WHERE w.site_id = site AND w.sighting_id = sighting AND w.withdraws = r.number)
    ORDER BY r.number DESC LIMIT 1
$$;

CREATE FUNCTION number_review() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Reviews of a sighting take turns; whoever has its row sees all that were before.
    PERFORM FROM sightings WHERE site_id = NEW.site_id AND id = NEW.sighting_id FOR NO KEY UPDATE;
    NEW.number := 1 + coalesce(
        (SELECT max(number) FROM reviews WHERE site_id = NEW.site_id AND sighting_id = NEW.sighting_id), 0);
    NEW.withdraws := CASE NEW.verdict WHEN 'withdrawn'
        THEN (SELECT number FROM review_in_force(NEW.site_id, NEW.sighting_id)) END;
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
        FROM (SELECT) AS one LEFT JOIN review_in_force(NEW.site_id, NEW.sighting_id) r ON true)
    WHERE site_id = NEW.site_id AND id = NEW.sighting_id;
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
