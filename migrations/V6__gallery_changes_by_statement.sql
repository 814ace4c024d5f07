-- Changes of the templates are numbered by statement: the clock's row is taken once for all templates that a
-- statement changes, not once for each of them.

DROP TRIGGER note_gallery_change ON templates;
DROP FUNCTION note_gallery_change();

-- `changed` holds the rows that a statement has changed; the argument says how.
CREATE FUNCTION note_gallery_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    many bigint;
    last bigint;
BEGIN
    SELECT count(*) INTO many FROM changed;
    -- Who changes nothing must not wait for the clock.
    IF many = 0 THEN
        RETURN NULL;
    END IF;
    UPDATE gallery_clock SET sequence = sequence + many RETURNING sequence INTO last;
    INSERT INTO gallery_changes (sequence, kind, template_id, student_id)
        SELECT last - many + row_number() OVER (ORDER BY id), TG_ARGV[0], id, student_id FROM changed;
    -- Delivered at the commit; the payload is only for people who watch.
    PERFORM pg_notify('cavs_gallery', last::text);
    RETURN NULL;
END
$$;

-- Triggers, so that no way of changing templates, a cascade included, can forget it. One for each kind of
-- statement, as PostgreSQL wants it.
CREATE TRIGGER note_gallery_inserts AFTER INSERT ON templates REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_gallery_changes('insert');
CREATE TRIGGER note_gallery_updates AFTER UPDATE ON templates REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_gallery_changes('insert');
CREATE TRIGGER note_gallery_removals AFTER DELETE ON templates REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_gallery_changes('remove');
