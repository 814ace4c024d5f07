-- How strictly a site looks at faces before they become templates, and what is noted of that; who has changed so much
-- that they should be enrolled anew.
ALTER TABLE sites ADD COLUMN enrollment_gate text NOT NULL DEFAULT 'standard'
    CHECK (enrollment_gate IN ('off', 'standard', 'strict'));
-- NULL of templates from before.
ALTER TABLE templates
    ADD COLUMN gate text CHECK (gate IN ('off', 'standard', 'strict')),
    ADD COLUMN enrolled_by uuid REFERENCES users;

-- How similar the accepted sightings of a student were to their templates, by the months (UTC) in which they were captured.
CREATE TABLE similarity_months (
    site_id uuid NOT NULL,
    student_id uuid NOT NULL,
    pack_digest bytea NOT NULL CHECK (octet_length(pack_digest) = 32),
    -- Its first day.
    month date NOT NULL,
    sightings bigint NOT NULL CHECK (sightings > 0),
    mean double precision NOT NULL,
    PRIMARY KEY (site_id, pack_digest, student_id, month),
    FOREIGN KEY (site_id, student_id) REFERENCES students ON DELETE CASCADE
);
CREATE INDEX similarity_months_student ON similarity_months (site_id, student_id);
-- When that was last looked at.
CREATE TABLE similarity_runs (
    site_id uuid PRIMARY KEY REFERENCES sites,
    started_at timestamptz NOT NULL DEFAULT now()
);
-- Whose similarities have sunk over months, since their newest template.
ALTER TABLE students ADD COLUMN re_enroll boolean NOT NULL DEFAULT false;
CREATE INDEX students_re_enroll ON students (site_id, number) WHERE re_enroll;
