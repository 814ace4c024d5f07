-- Cameras that run no networks, and the proxies that speak for them.

-- The agent that speaks for a camera.
ALTER TABLE devices
    ADD COLUMN proxy_id uuid REFERENCES devices,
    ADD CHECK (proxy_id IS NULL OR kind = 'esp32_cam');
CREATE INDEX ON devices (proxy_id) WHERE proxy_id IS NOT NULL;

CREATE TABLE device_tokens (
    -- SHA-256 of the token: a reader of the database can't be a camera.
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    device_id uuid NOT NULL REFERENCES devices ON DELETE CASCADE,
    issued_at timestamptz NOT NULL DEFAULT now(),
    issued_by uuid NOT NULL REFERENCES users,
    -- NULL: it is good.
    revoked_at timestamptz
);
CREATE INDEX ON device_tokens (device_id, issued_at);

-- Who spoke for a camera and may not. One row a day, so that no device can fill the disk with them.
CREATE TABLE proxy_refusals (
    proxy_id uuid NOT NULL REFERENCES devices,
    -- The nil id stands for all that are no devices.
    camera_id uuid NOT NULL,
    reason text NOT NULL,
    day date NOT NULL DEFAULT current_date,
    sightings bigint NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (proxy_id, camera_id, reason, day)
);

-- Whose spool a sighting went through, which is who numbered it: the device's own, or a proxy's. A
-- camera that moves to another proxy keeps its id, and two proxies may have begun in the same second.
ALTER TABLE sightings ADD COLUMN via uuid REFERENCES devices;
UPDATE sightings SET via = device_id;
ALTER TABLE sightings ALTER COLUMN via SET NOT NULL;
ALTER TABLE sightings DROP CONSTRAINT sightings_device_id_boot_epoch_sequence_key;
ALTER TABLE sightings ADD UNIQUE (device_id, via, boot_epoch, sequence);

CREATE FUNCTION note_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Delivered at the commit. Streams look for themselves what it means to them.
    PERFORM pg_notify('cavs_devices', '');
    RETURN NULL;
END
$$;

-- Not for heartbeats, which come all the time.
CREATE TRIGGER note_devices AFTER UPDATE OF name, classroom, status, proxy_id ON devices
    FOR EACH STATEMENT EXECUTE FUNCTION note_devices();
CREATE TRIGGER note_devices AFTER INSERT OR UPDATE OR DELETE ON device_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION note_devices();
