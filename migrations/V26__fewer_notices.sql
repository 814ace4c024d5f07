-- Nobody is notified who does not listen: who takes attendance reads its queue.

CREATE OR REPLACE FUNCTION note_device_maintenance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'maintenance' THEN
        INSERT INTO device_maintenance (site_id, device_id, started_at) VALUES (NEW.site_id, NEW.id, clock_timestamp());
    ELSE
        UPDATE device_maintenance SET ended_at = clock_timestamp()
            WHERE site_id = NEW.site_id AND device_id = NEW.id AND ended_at IS NULL;
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER note_class_sessions_added ON class_sessions;
DROP TRIGGER note_class_sessions_changed ON class_sessions;
DROP FUNCTION note_class_sessions();
