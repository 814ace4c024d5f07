-- Accepted sightings that were drawn by chance, to be judged by a person who is not told whom the machine meant: what
-- the accuracy of recognition is measured by.
CREATE TABLE audits (
    site_id uuid NOT NULL,
    sighting_id uuid NOT NULL,
    drawn_at timestamptz NOT NULL DEFAULT now(),
    -- NULL while it waits. `unclear`: the person could not tell.
    outcome text CHECK (outcome IN ('right', 'wrong', 'unclear')),
    auditor_id uuid REFERENCES users,
    audited_at timestamptz,
    PRIMARY KEY (site_id, sighting_id),
    CONSTRAINT audits_sighting FOREIGN KEY (site_id, sighting_id) REFERENCES sightings ON DELETE CASCADE,
    CONSTRAINT audits_answered CHECK ((outcome IS NULL) = (auditor_id IS NULL) AND (outcome IS NULL) = (audited_at IS NULL))
);
CREATE INDEX audits_waiting ON audits (site_id, drawn_at, sighting_id) WHERE outcome IS NULL;
CREATE INDEX audits_drawn ON audits (site_id, drawn_at) INCLUDE (outcome);
