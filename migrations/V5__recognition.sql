-- What servers behind one address agree on: every change of a site's templates, in one order, and its thresholds.

-- Each site has a clock of its own: changes of one are numbered without gaps, and wait for no other site's.
CREATE TABLE gallery_clock (
    site_id uuid PRIMARY KEY REFERENCES sites,
    sequence bigint NOT NULL
);
INSERT INTO gallery_clock (site_id, sequence) SELECT id, 0 FROM sites;

CREATE TABLE gallery_changes (
    site_id uuid NOT NULL REFERENCES sites,
    -- Without gaps, and in the order of the commits: whoever takes a number holds the clock's row until its commit.
    sequence bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('insert', 'remove')),
    template_id uuid NOT NULL,
    student_id uuid NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, sequence)
);

-- `changed` holds the rows that a statement has changed; the argument says how. The clock's row is taken once for all
-- templates that a statement changes.
CREATE FUNCTION note_gallery_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changing record;
    last bigint;
BEGIN
    -- In one order, so that two that change several sites never wait for each other. Who changes nothing waits for
    -- no clock.
    FOR changing IN SELECT site_id, count(*) AS many FROM changed GROUP BY site_id ORDER BY site_id LOOP
        UPDATE gallery_clock SET sequence = sequence + changing.many WHERE site_id = changing.site_id
            RETURNING sequence INTO last;
        INSERT INTO gallery_changes (site_id, sequence, kind, template_id, student_id)
            SELECT site_id, last - changing.many + row_number() OVER (ORDER BY id), TG_ARGV[0], id, student_id
            FROM changed WHERE site_id = changing.site_id;
        -- Delivered at the commit: of which site something has changed.
        PERFORM pg_notify('cavs_gallery', changing.site_id::text);
    END LOOP;
    RETURN NULL;
END
$$;
-- Triggers, so that no way of changing templates, a cascade included, can forget it. One for each kind of statement,
-- as PostgreSQL wants it.
CREATE TRIGGER note_gallery_inserts AFTER INSERT ON templates REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_gallery_changes('insert');
CREATE TRIGGER note_gallery_updates AFTER UPDATE ON templates REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_gallery_changes('insert');
CREATE TRIGGER note_gallery_removals AFTER DELETE ON templates REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_gallery_changes('remove');

-- Thresholds of each site and model pack, in versions: the latest is in force. Where there is none, the server's
-- configuration and the pack say, as version 0.
CREATE TABLE thresholds (
    site_id uuid NOT NULL REFERENCES sites,
    pack_digest bytea NOT NULL CHECK (octet_length(pack_digest) = 32),
    version integer NOT NULL CHECK (version > 0),
    accept real NOT NULL CHECK (accept BETWEEN -1 AND 1),
    review real NOT NULL CHECK (review BETWEEN -1 AND accept),
    margin real NOT NULL CHECK (margin BETWEEN 0 AND 2),
    set_by uuid NOT NULL REFERENCES users,
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, pack_digest, version)
);

CREATE FUNCTION note_thresholds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Delivered at the commit: of which site they are.
    PERFORM pg_notify('cavs_thresholds', NEW.site_id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_thresholds AFTER INSERT ON thresholds
    FOR EACH ROW EXECUTE FUNCTION note_thresholds();
