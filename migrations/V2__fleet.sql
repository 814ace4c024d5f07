-- Devices: agents, cameras and the proxies that speak for them; what is pushed to them; starts of agents.

CREATE TABLE devices (
    site_id uuid NOT NULL REFERENCES sites,
    -- All that a certificate names.
    id uuid NOT NULL UNIQUE,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('agent', 'esp32_cam')),
    classroom text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The agent that speaks for a camera.
    proxy_id uuid,

    -- What it says of itself.
    last_seen_at timestamptz,
    agent_version text NOT NULL DEFAULT '',
    pack_digest bytea CHECK (octet_length(pack_digest) = 32),
    spooled bigint NOT NULL DEFAULT 0,
    lost bigint NOT NULL DEFAULT 0,
    heartbeat jsonb,
    -- What became of the pushed settings: in every greeting and every heartbeat.
    settings_running bigint NOT NULL DEFAULT 0,
    settings_on_trial boolean NOT NULL DEFAULT false,
    settings_rejected bigint NOT NULL DEFAULT 0,
    settings_rejection text NOT NULL DEFAULT '',

    -- The start of its agent that may speak: the one that was welcomed last.
    run_id uuid,
    -- When it was; NULL once it has ended its stream.
    run_since timestamptz,
    -- When two starts were last found alive at once, and how often.
    twice_at timestamptz,
    twice_count bigint NOT NULL DEFAULT 0,

    PRIMARY KEY (site_id, id),
    CONSTRAINT devices_proxy_id FOREIGN KEY (site_id, proxy_id) REFERENCES devices,
    CONSTRAINT devices_proxy_kind CHECK (proxy_id IS NULL OR kind = 'esp32_cam')
);
-- A revoked device's name is free again.
CREATE UNIQUE INDEX devices_active_name ON devices (site_id, name) WHERE status = 'active';
CREATE INDEX devices_name_id ON devices (site_id, name, id);
CREATE INDEX devices_proxy ON devices (site_id, proxy_id) WHERE proxy_id IS NOT NULL;

-- What the server pushes to devices.
CREATE TABLE device_settings (
    site_id uuid NOT NULL,
    device_id uuid NOT NULL,
    -- Counts up by one for every change; no version is ever changed.
    version bigint NOT NULL CHECK (version > 0),
    -- By SECTION.KEY, all that is pushed.
    settings jsonb NOT NULL,
    pushed_at timestamptz NOT NULL DEFAULT now(),
    pushed_by uuid NOT NULL REFERENCES users,
    PRIMARY KEY (site_id, device_id, version),
    FOREIGN KEY (site_id, device_id) REFERENCES devices ON DELETE CASCADE
);

CREATE TABLE device_tokens (
    site_id uuid NOT NULL,
    -- SHA-256 of the token: a reader of the database can't be a camera.
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    device_id uuid NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    issued_by uuid NOT NULL REFERENCES users,
    -- NULL: it is good.
    revoked_at timestamptz,
    PRIMARY KEY (site_id, token_hash),
    FOREIGN KEY (site_id, device_id) REFERENCES devices ON DELETE CASCADE
);
CREATE INDEX device_tokens_device ON device_tokens (site_id, device_id, issued_at);

-- Who spoke for a camera and may not. One row a day, so that no device can fill the disk with them.
CREATE TABLE proxy_refusals (
    site_id uuid NOT NULL,
    proxy_id uuid NOT NULL,
    -- The nil id stands for all that are no devices of the site.
    camera_id uuid NOT NULL,
    reason text NOT NULL,
    day date NOT NULL DEFAULT current_date,
    sightings bigint NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, proxy_id, camera_id, reason, day),
    FOREIGN KEY (site_id, proxy_id) REFERENCES devices
);

-- Starts whose place another one has taken. One that speaks after that lives beside the other.
CREATE TABLE superseded_runs (
    site_id uuid NOT NULL,
    device_id uuid NOT NULL,
    run_id uuid NOT NULL,
    superseded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, device_id, run_id),
    FOREIGN KEY (site_id, device_id) REFERENCES devices ON DELETE CASCADE
);

-- That a device was connected twice, one row a day: what is left to look up afterwards.
CREATE TABLE device_conflicts (
    site_id uuid NOT NULL,
    device_id uuid NOT NULL,
    day date NOT NULL DEFAULT current_date,
    noticed bigint NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, device_id, day),
    FOREIGN KEY (site_id, device_id) REFERENCES devices ON DELETE CASCADE
);

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
