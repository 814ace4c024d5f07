-- Sightings are numbered by starts of agents ("runs"), each with a random id: a clock is no identity. Two
-- starts in one second, or two devices with one certificate, number alike and share nothing.

-- Rows from before have the nil id.
ALTER TABLE sightings ADD COLUMN run_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
ALTER TABLE sightings DROP CONSTRAINT sightings_device_id_via_boot_epoch_sequence_key;
ALTER TABLE sightings ADD CONSTRAINT sightings_key UNIQUE (device_id, via, run_id, boot_epoch, sequence);

ALTER TABLE devices
    -- The start of its agent that may speak: the one that was welcomed last.
    ADD COLUMN run_id uuid,
    -- When it was; NULL once it has ended its stream.
    ADD COLUMN run_since timestamptz,
    -- When two starts were last found alive at once, and how often.
    ADD COLUMN twice_at timestamptz,
    ADD COLUMN twice_count bigint NOT NULL DEFAULT 0;

-- Starts whose place another one has taken. One that speaks after that lives beside the other.
CREATE TABLE superseded_runs (
    device_id uuid NOT NULL REFERENCES devices ON DELETE CASCADE,
    run_id uuid NOT NULL,
    superseded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, run_id)
);

-- That a device was connected twice, one row a day: what is left to look up afterwards.
CREATE TABLE device_conflicts (
    device_id uuid NOT NULL REFERENCES devices ON DELETE CASCADE,
    day date NOT NULL DEFAULT current_date,
    noticed bigint NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, day)
);
