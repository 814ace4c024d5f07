-- What the server pushes to devices, and what they say of themselves.

CREATE TABLE device_settings (
    device_id uuid NOT NULL REFERENCES devices ON DELETE CASCADE,
    -- Counts up by one for every change; no version is ever changed.
    version bigint NOT NULL CHECK (version > 0),
    -- By SECTION.KEY, all that is pushed.
    settings jsonb NOT NULL,
    pushed_at timestamptz NOT NULL DEFAULT now(),
    pushed_by uuid NOT NULL REFERENCES users,
    PRIMARY KEY (device_id, version)
);

ALTER TABLE devices
    -- The last heartbeat, as a device says it.
    ADD COLUMN heartbeat jsonb,
    -- What became of the pushed settings: in every greeting and every heartbeat.
    ADD COLUMN settings_running bigint NOT NULL DEFAULT 0,
    ADD COLUMN settings_on_trial boolean NOT NULL DEFAULT false,
    ADD COLUMN settings_rejected bigint NOT NULL DEFAULT 0,
    ADD COLUMN settings_rejection text NOT NULL DEFAULT '';
