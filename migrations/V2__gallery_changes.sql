-- What servers behind one address agree on: every change of the templates, in one order.

CREATE TABLE gallery_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sequence bigint NOT NULL
);
INSERT INTO gallery_clock (sequence) VALUES (0);

CREATE TABLE gallery_changes (
    -- Without gaps, and in the order of the commits: whoever takes a number holds the clock's row
    -- until its commit.
    sequence bigint PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('insert', 'remove')),
    template_id uuid NOT NULL,
    student_id uuid NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- A trigger, so that no way of changing templates, a cascade included, can forget it.
CREATE FUNCTION note_gallery_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
    changed templates;
    change text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        changed := OLD;
        change := 'remove';
    ELSE
        changed := NEW;
        change := 'insert';
    END IF;
    UPDATE gallery_clock SET sequence = sequence + 1 RETURNING sequence INTO number;
    INSERT INTO gallery_changes (sequence, kind, template_id, student_id)
        VALUES (number, change, changed.id, changed.student_id);
    -- Delivered at the commit; the payload is only for people who watch.
    PERFORM pg_notify('cavs_gallery', number::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER note_gallery_change AFTER INSERT OR UPDATE OR DELETE ON templates
    FOR EACH ROW EXECUTE FUNCTION note_gallery_change();
