-- Whoever watches sightings hears of new ones; delivered at the commit: of which site they are.
CREATE FUNCTION note_sightings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cavs_sightings', site_id::text) FROM (SELECT DISTINCT site_id FROM added) AS sites;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_sightings AFTER INSERT ON sightings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_sightings();
