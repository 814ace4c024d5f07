-- Programs that are told of what happens: where they are, what they want to hear, and what they have not been told yet.

-- A site's key for its secrets: wrapped by the keyring as all data keys are, so that a rotation takes it along.
ALTER TABLE data_keys
    ADD COLUMN is_for_secrets boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT data_keys_check,
    ADD CONSTRAINT data_keys_of CHECK (num_nonnulls(student_id, day) + is_for_secrets::integer = 1);
CREATE UNIQUE INDEX data_keys_secrets ON data_keys (site_id) WHERE is_for_secrets;

CREATE TABLE webhooks (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    url text NOT NULL,
    description text NOT NULL DEFAULT '',
    -- Which it is told of.
    events text[] NOT NULL CHECK (cardinality(events) > 0),
    -- Whether it is told names of people, and not only their ids and numbers.
    include_names boolean NOT NULL DEFAULT false,
    -- Sealed by the site's key for secrets.
    secret bytea NOT NULL,
    -- The one before signs, too, until then.
    previous_secret bytea,
    previous_until timestamptz,
    -- False where a person or the server has switched it off.
    is_active boolean NOT NULL DEFAULT true,
    -- When and why the server did.
    disabled_at timestamptz,
    disabled_reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- Counts what people change.
    version bigint NOT NULL DEFAULT 1,

    -- How it goes. One server at a time sends, and says until when.
    lease uuid,
    leased_until timestamptz,
    -- Rounds that failed since the last that did not, and since when.
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    -- Nothing is sent before.
    rests_until timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error text NOT NULL DEFAULT '',
    PRIMARY KEY (site_id, id),
    CONSTRAINT webhooks_previous CHECK ((previous_secret IS NULL) = (previous_until IS NULL)),
    CONSTRAINT webhooks_disabled CHECK ((disabled_at IS NOT NULL) = (disabled_reason <> '')
        AND (disabled_at IS NULL OR NOT is_active)),
    CONSTRAINT webhooks_failing CHECK ((failures = 0) = (failing_since IS NULL))
);
CREATE INDEX webhooks_created ON webhooks (site_id, created_at, id);

-- What happened, written by the commit in which it happened: a row for each statement and event, not for each webhook,
-- and none where no webhook of the site wants it. Servers make deliveries of them afterwards. The order of the ids is not
-- that of the commits, and nobody relies on it: a row is taken when it is seen, and whoever commits later leaves one.
CREATE TABLE webhook_outbox (
    site_id uuid NOT NULL REFERENCES sites,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    event text NOT NULL,
    -- Sightings, reviews, devices, sessions.
    subjects uuid[] NOT NULL,
    -- Of marks: whose, in the order of the subjects.
    students uuid[],
    details jsonb,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (site_id, id)
);
CREATE INDEX webhook_outbox_id ON webhook_outbox (id);

-- One event for one webhook, from when it was noticed until it is kept no longer. What is told is read when it is sent:
-- who was erased since is not in it.
CREATE TABLE webhook_deliveries (
    site_id uuid NOT NULL,
    -- What receivers know it by: the same each time.
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    webhook_id uuid NOT NULL,
    event text NOT NULL,
    subject_id uuid NOT NULL,
    student_id uuid,
    details jsonb,
    happened_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'obsolete')),
    -- When it is to be sent next.
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    last_attempt_at timestamptz,
    -- What the receiver answered last; NULL where it did not.
    last_status integer,
    last_error text NOT NULL DEFAULT '',
    delivered_at timestamptz,
    PRIMARY KEY (site_id, id),
    CONSTRAINT webhook_deliveries_delivered CHECK ((state = 'delivered') = (delivered_at IS NOT NULL)),
    CONSTRAINT webhook_deliveries_webhook FOREIGN KEY (site_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (site_id, webhook_id, event, due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_listed ON webhook_deliveries (site_id, webhook_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_state ON webhook_deliveries (site_id, webhook_id, state, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_old ON webhook_deliveries (created_at);

-- Whether devices were online when a server looked last: that one is silent is no row that somebody writes.
CREATE TABLE webhook_device_states (
    site_id uuid NOT NULL,
    device_id uuid NOT NULL,
    is_online boolean NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, device_id),
    CONSTRAINT webhook_device_states_device FOREIGN KEY (site_id, device_id) REFERENCES devices ON DELETE CASCADE
);

CREATE FUNCTION webhooks_want(site uuid, VARIADIC wanted text[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM webhooks w WHERE w.site_id = site AND w.is_active AND w.events && wanted)
$$;

CREATE FUNCTION note_sightings_for_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_outbox (site_id, event, subjects)
        SELECT site_id, 'sighting.recorded', ids
        FROM (SELECT site_id, array_agg(id) AS ids FROM changed GROUP BY site_id) AS added
        WHERE webhooks_want(site_id, 'sighting.recorded');
    RETURN NULL;
END
$$;
CREATE TRIGGER note_for_webhooks AFTER INSERT ON sightings
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_sightings_for_webhooks();

CREATE FUNCTION note_reviews_for_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_outbox (site_id, event, subjects)
        SELECT site_id, 'review.recorded', ids
        FROM (SELECT site_id, array_agg(id) AS ids FROM changed GROUP BY site_id) AS added
        WHERE webhooks_want(site_id, 'review.recorded');
    RETURN NULL;
END
$$;
CREATE TRIGGER note_for_webhooks AFTER INSERT ON reviews
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_reviews_for_webhooks();

CREATE FUNCTION note_device_for_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_outbox (site_id, event, subjects, details)
        SELECT NEW.site_id, 'device.status_changed', ARRAY[NEW.id],
            jsonb_build_object('previous_status', OLD.status, 'status', NEW.status)
        WHERE webhooks_want(NEW.site_id, 'device.status_changed');
    RETURN NULL;
END
$$;
CREATE TRIGGER note_for_webhooks AFTER UPDATE OF status ON devices
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION note_device_for_webhooks();

CREATE FUNCTION note_session_for_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_outbox (site_id, event, subjects)
        SELECT NEW.site_id, 'class_session.finalised', ARRAY[NEW.id]
        WHERE webhooks_want(NEW.site_id, 'class_session.finalised', 'mark.finalised');
    RETURN NULL;
END
$$;
CREATE TRIGGER note_for_webhooks AFTER UPDATE OF state ON class_sessions
    FOR EACH ROW WHEN (NEW.state = 'finalised' AND OLD.state <> 'finalised')
    EXECUTE FUNCTION note_session_for_webhooks();

-- Marks of sessions that are final change by a person's word alone.
CREATE FUNCTION note_marks_for_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_outbox (site_id, event, subjects, students)
        SELECT site_id, 'mark.changed', sessions, students
        FROM (SELECT m.site_id, array_agg(m.session_id) AS sessions, array_agg(m.student_id) AS students
            FROM changed m JOIN class_sessions c ON c.site_id = m.site_id AND c.id = m.session_id
            WHERE c.state = 'finalised' GROUP BY m.site_id) AS final
        WHERE webhooks_want(site_id, 'mark.changed');
    RETURN NULL;
END
$$;
CREATE TRIGGER note_for_webhooks AFTER INSERT ON mark_changes
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_marks_for_webhooks();
