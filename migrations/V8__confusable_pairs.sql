-- Students whose faces are, or were, taken for one another's. A face that may be either's goes to a person.
CREATE TABLE confusable_pairs (
    site_id uuid NOT NULL REFERENCES sites,
    -- The smaller id.
    first_id uuid NOT NULL,
    second_id uuid NOT NULL CHECK (first_id < second_id),
    -- `twins`: a person said that they look alike. `confused`: a reviewer has corrected one to the other.
    kind text NOT NULL CHECK (kind IN ('twins', 'confused')),
    noted_by uuid NOT NULL REFERENCES users,
    noted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (site_id, first_id, second_id),
    FOREIGN KEY (site_id, first_id) REFERENCES students ON DELETE CASCADE,
    FOREIGN KEY (site_id, second_id) REFERENCES students ON DELETE CASCADE
);
CREATE INDEX confusable_pairs_second ON confusable_pairs (site_id, second_id);

CREATE FUNCTION note_confusable_pair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Delivered at the commit: of which site they are.
    PERFORM pg_notify('cavs_confusable_pairs', coalesce(NEW.site_id, OLD.site_id)::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER note_confusable_pair AFTER INSERT OR UPDATE OR DELETE ON confusable_pairs
    FOR EACH ROW EXECUTE FUNCTION note_confusable_pair();

-- What a reviewer corrects is a mistake of the machine's that is not to be made again without a person.
CREATE FUNCTION note_confused_students() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    predicted uuid;
BEGIN
    SELECT predicted_student_id INTO predicted FROM sightings
        WHERE site_id = NEW.site_id AND id = NEW.sighting_id AND decision <> 'unknown';
    IF predicted <> NEW.corrected_student_id THEN
        INSERT INTO confusable_pairs (site_id, first_id, second_id, kind, noted_by)
            SELECT NEW.site_id, least(predicted, NEW.corrected_student_id), greatest(predicted, NEW.corrected_student_id),
                'confused', NEW.reviewer_id
            WHERE NOT is_erased(NEW.site_id, predicted) AND NOT is_erased(NEW.site_id, NEW.corrected_student_id)
            ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_confused_students AFTER INSERT ON reviews
    FOR EACH ROW WHEN (NEW.verdict IN ('approved', 'rejected') AND NEW.corrected_student_id IS NOT NULL)
    EXECUTE FUNCTION note_confused_students();
