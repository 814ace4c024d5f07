-- Whom a sighting's face was enrolled for: the template goes when a person says that it is somebody else.
ALTER TABLE templates DROP CONSTRAINT templates_source_check;
ALTER TABLE templates ADD CONSTRAINT templates_source CHECK (source IN ('image', 'sighting', 'embedding'));
ALTER TABLE templates ADD COLUMN sighting_id uuid;
ALTER TABLE templates ADD CONSTRAINT templates_sighting CHECK ((source = 'sighting') = (sighting_id IS NOT NULL));
CREATE INDEX templates_sighting ON templates (site_id, sighting_id) WHERE sighting_id IS NOT NULL;

CREATE FUNCTION delete_disowned_templates() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM templates WHERE site_id = NEW.site_id AND sighting_id = NEW.id
        AND student_id IS DISTINCT FROM NEW.student_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_disowned_templates AFTER UPDATE ON sightings
    FOR EACH ROW WHEN (OLD.student_id IS DISTINCT FROM NEW.student_id) EXECUTE FUNCTION delete_disowned_templates();
