-- Sites: schools and company locations. What belongs to one says so in its row, and the foreign keys between
-- such rows carry the site, so that no row can refer to one of another site.

CREATE TABLE sites (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- From then on it can be looked at only, and its devices are not admitted.
    archived_at timestamptz
);
INSERT INTO sites (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'main');

CREATE FUNCTION note_sites() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Delivered at the commit: servers open and close galleries, and streams of devices look for themselves.
    PERFORM pg_notify('cavs_sites', '');
    PERFORM pg_notify('cavs_devices', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER note_sites AFTER INSERT OR UPDATE ON sites FOR EACH STATEMENT EXECUTE FUNCTION note_sites();

-- Who may do what where. An operator may do everything in all sites, and alone manages them.
CREATE TABLE user_roles (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    site_id uuid NOT NULL REFERENCES sites,
    role text NOT NULL CHECK (role IN ('admin', 'reviewer', 'viewer', 'capture')),
    PRIMARY KEY (user_id, site_id)
);
INSERT INTO user_roles (user_id, site_id, role) SELECT u.id, s.id, u.role FROM users u, sites s;
ALTER TABLE users DROP COLUMN role, ADD COLUMN is_operator boolean NOT NULL DEFAULT false;

-- All that is there belongs to the one site; what comes says which it belongs to.
DO $$
DECLARE
    belonging text;
BEGIN
    FOREACH belonging IN ARRAY ARRAY['students', 'templates', 'devices', 'sightings', 'reviews', 'thresholds',
        'gallery_clock', 'gallery_changes']
    LOOP
        EXECUTE format('ALTER TABLE %I ADD COLUMN site_id uuid NOT NULL '
            'DEFAULT ''00000000-0000-7000-8000-000000000001''', belonging);
        EXECUTE format('ALTER TABLE %I ALTER COLUMN site_id DROP DEFAULT', belonging);
    END LOOP;
END
$$;

ALTER TABLE students
    ADD FOREIGN KEY (site_id) REFERENCES sites,
    ADD UNIQUE (site_id, id),
    DROP CONSTRAINT students_number_key,
    ADD CONSTRAINT students_number UNIQUE (site_id, number);
DROP INDEX students_section_number_idx;
CREATE INDEX students_section ON students (site_id, section, number);

ALTER TABLE templates
    DROP CONSTRAINT templates_student_id_fkey,
    ADD FOREIGN KEY (site_id, student_id) REFERENCES students (site_id, id) ON DELETE CASCADE;
DROP INDEX templates_student_id_idx, templates_pack_digest_idx;
CREATE INDEX templates_student ON templates (site_id, student_id);
CREATE INDEX templates_pack ON templates (site_id, pack_digest);

ALTER TABLE devices
    ADD FOREIGN KEY (site_id) REFERENCES sites,
    ADD UNIQUE (site_id, id),
    DROP CONSTRAINT devices_proxy_id_fkey,
    ADD FOREIGN KEY (site_id, proxy_id) REFERENCES devices (site_id, id);
DROP INDEX devices_active_name, devices_name_id, devices_proxy_id_idx;
CREATE UNIQUE INDEX devices_active_name ON devices (site_id, name) WHERE status = 'active';
CREATE INDEX devices_name_id ON devices (site_id, name, id);
CREATE INDEX devices_proxy ON devices (site_id, proxy_id) WHERE proxy_id IS NOT NULL;

ALTER TABLE sightings
    DROP CONSTRAINT sightings_device_id_fkey,
    DROP CONSTRAINT sightings_via_fkey,
    DROP CONSTRAINT sightings_predicted_student_id_fkey,
    DROP CONSTRAINT sightings_corrected_student_id_fkey,
    ADD FOREIGN KEY (site_id, device_id) REFERENCES devices (site_id, id),
    ADD FOREIGN KEY (site_id, via) REFERENCES devices (site_id, id),
    ADD FOREIGN KEY (site_id, predicted_student_id) REFERENCES students (site_id, id),
    ADD FOREIGN KEY (site_id, corrected_student_id) REFERENCES students (site_id, id),
    ADD UNIQUE (site_id, id),
    DROP CONSTRAINT sightings_key,
    ADD CONSTRAINT sightings_key UNIQUE (site_id, device_id, via, run_id, boot_epoch, sequence);
DROP INDEX sightings_listed, sightings_queue, sightings_student, sightings_device, sightings_classroom,
    sightings_decision, sightings_pack, sightings_device_unsure, sightings_classroom_unsure, sightings_queue_device,
    sightings_queue_classroom;
CREATE INDEX sightings_listed ON sightings (site_id, listed_at DESC, id DESC);
CREATE INDEX sightings_queue ON sightings (site_id, listed_at, id) WHERE in_queue;
CREATE INDEX sightings_student ON sightings (site_id, student_id, listed_at DESC, id DESC)
    WHERE student_id IS NOT NULL;
CREATE INDEX sightings_device ON sightings (site_id, device_id, listed_at DESC, id DESC) INCLUDE (decision);
CREATE INDEX sightings_classroom ON sightings (site_id, classroom, listed_at DESC, id DESC) INCLUDE (decision);
CREATE INDEX sightings_device_unsure ON sightings (site_id, device_id, decision, listed_at DESC, id DESC)
    WHERE decision <> 'accepted';
CREATE INDEX sightings_classroom_unsure ON sightings (site_id, classroom, decision, listed_at DESC, id DESC)
    WHERE decision <> 'accepted';
CREATE INDEX sightings_queue_device ON sightings (site_id, device_id, listed_at, id) WHERE in_queue;
CREATE INDEX sightings_queue_classroom ON sightings (site_id, classroom, listed_at, id) WHERE in_queue;
CREATE INDEX sightings_decision ON sightings (site_id, decision, listed_at DESC, id DESC);
CREATE INDEX sightings_pack ON sightings (site_id, pack_digest, listed_at DESC);

ALTER TABLE reviews
    DROP CONSTRAINT reviews_sighting_id_fkey,
    DROP CONSTRAINT reviews_corrected_student_id_fkey,
    ADD FOREIGN KEY (site_id, sighting_id) REFERENCES sightings (site_id, id) ON DELETE CASCADE,
    ADD FOREIGN KEY (site_id, corrected_student_id) REFERENCES students (site_id, id);

ALTER TABLE thresholds
    ADD FOREIGN KEY (site_id) REFERENCES sites,
    DROP CONSTRAINT thresholds_pkey,
    ADD PRIMARY KEY (site_id, pack_digest, version);

-- The payloads say of which site something has changed.
CREATE OR REPLACE FUNCTION note_thresholds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cavs_thresholds', NEW.site_id::text);
    RETURN NULL;
END
$$;

-- Each site has a clock of its own: changes of one are numbered without gaps, and wait for no other site's.
ALTER TABLE gallery_clock
    DROP COLUMN only_row,
    ADD PRIMARY KEY (site_id),
    ADD FOREIGN KEY (site_id) REFERENCES sites;
ALTER TABLE gallery_changes
    DROP CONSTRAINT gallery_changes_pkey,
    ADD PRIMARY KEY (site_id, sequence);

CREATE OR REPLACE FUNCTION note_gallery_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changing record;
    last bigint;
BEGIN
    -- In one order, so that two that change several sites never wait for each other.
    FOR changing IN SELECT site_id, count(*) AS many FROM changed GROUP BY site_id ORDER BY site_id LOOP
        UPDATE gallery_clock SET sequence = sequence + changing.many WHERE site_id = changing.site_id
            RETURNING sequence INTO last;
        INSERT INTO gallery_changes (site_id, sequence, kind, template_id, student_id)
            SELECT site_id, last - changing.many + row_number() OVER (ORDER BY id), TG_ARGV[0], id, student_id
            FROM changed WHERE site_id = changing.site_id;
        -- Delivered at the commit.
        PERFORM pg_notify('cavs_gallery', changing.site_id::text);
    END LOOP;
    RETURN NULL;
END
$$;
