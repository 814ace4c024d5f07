-- From when to when devices watched, and why they did not: what it means that somebody was not seen. Periods of a device
-- do not overlap; what is in none was not claimed.
CREATE TABLE watched_periods (
    site_id uuid NOT NULL,
    device_id uuid NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('watching', 'camera_failed', 'camera_frozen', 'camera_covered', 'overloaded',
        'disk_full', 'sightings_lost', 'clock_wrong', 'pack_not_served', 'maintenance')),
    PRIMARY KEY (site_id, device_id, started_at),
    CONSTRAINT watched_periods_device FOREIGN KEY (site_id, device_id) REFERENCES devices ON DELETE CASCADE,
    CONSTRAINT watched_periods_order CHECK (ended_at > started_at)
);
CREATE INDEX watched_periods_ended ON watched_periods (site_id, device_id, ended_at);

-- Everything that the device captured up to this time is stored. NULL: it has never said so.
ALTER TABLE devices ADD COLUMN delivered_until timestamptz;
