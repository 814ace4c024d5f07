-- Devices that are not to speak for a while, and those that are being worked on; what people note of them.
ALTER TABLE devices DROP CONSTRAINT devices_status_check;
ALTER TABLE devices ADD CONSTRAINT devices_status
    CHECK (status IN ('active', 'inactive', 'maintenance', 'revoked'));
-- A revoked device's name is free again; one that comes back keeps its own.
DROP INDEX devices_active_name;
CREATE UNIQUE INDEX devices_active_name ON devices (site_id, name) WHERE status <> 'revoked';

ALTER TABLE devices
    ADD COLUMN description text NOT NULL DEFAULT '',
    -- As people noted them, so that the machine is found; nobody is admitted by them.
    ADD COLUMN noted_address text NOT NULL DEFAULT '',
    ADD COLUMN mac_address text NOT NULL DEFAULT '',
    -- From where it connected last.
    ADD COLUMN seen_address text NOT NULL DEFAULT '',
    -- Counts what people change.
    ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- When devices were in maintenance: what they saw then is left to people, and what they did not see proves nothing.
CREATE TABLE device_maintenance (
    site_id uuid NOT NULL,
    device_id uuid NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    -- NULL while it lasts.
    ended_at timestamptz,
    PRIMARY KEY (site_id, device_id, started_at),
    CONSTRAINT device_maintenance_device FOREIGN KEY (site_id, device_id) REFERENCES devices ON DELETE CASCADE
);

CREATE FUNCTION note_device_maintenance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'maintenance' THEN
        INSERT INTO device_maintenance (site_id, device_id, started_at) VALUES (NEW.site_id, NEW.id, clock_timestamp());
    ELSE
        UPDATE device_maintenance SET ended_at = clock_timestamp()
            WHERE site_id = NEW.site_id AND device_id = NEW.id AND ended_at IS NULL;
    END IF;
    PERFORM pg_notify('cavs_watch', NEW.site_id || ' ' || NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_device_maintenance AFTER UPDATE OF status ON devices FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND 'maintenance' IN (OLD.status, NEW.status))
    EXECUTE FUNCTION note_device_maintenance();
