-- What a school's administration keeps of a student, and who of them is recognised.
ALTER TABLE students
    ADD COLUMN email text NOT NULL DEFAULT '',
    -- As it is compared: in small letters.
    ADD COLUMN email_key text NOT NULL DEFAULT '',
    ADD COLUMN department text NOT NULL DEFAULT '',
    -- What another system calls the student, such as OneRoster's `sourcedId`.
    ADD COLUMN external_id text NOT NULL DEFAULT '',
    ADD COLUMN enrollment_date date,
    ADD COLUMN is_active boolean NOT NULL DEFAULT true,
    ADD COLUMN photo_consent text NOT NULL DEFAULT 'unknown'
        CHECK (photo_consent IN ('unknown', 'given', 'refused')),
    -- Whose templates are in the gallery.
    ADD COLUMN is_matched boolean NOT NULL GENERATED ALWAYS AS (is_active AND photo_consent <> 'refused') STORED,
    -- One more with each change that people make: what an etag says.
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    DROP CONSTRAINT students_erased,
    ADD CONSTRAINT students_erased CHECK (erased_at IS NULL
        OR (number LIKE 'erased-%' AND name = '' AND section = '' AND name_words = '' AND email = ''
            AND email_key = '' AND department = '' AND external_id = '' AND enrollment_date IS NULL));
UPDATE students SET updated_at = created_at;
-- Statistics would keep these of erased students.
ALTER TABLE students ALTER COLUMN email SET STATISTICS 0, ALTER COLUMN email_key SET STATISTICS 0,
    ALTER COLUMN external_id SET STATISTICS 0;

CREATE UNIQUE INDEX students_email ON students (site_id, email_key) WHERE email_key <> '';
CREATE UNIQUE INDEX students_external_id ON students (site_id, external_id) WHERE external_id <> '';
CREATE INDEX students_department ON students (site_id, department, number);
-- Numbers are looked for by how they begin, in any case.
CREATE INDEX students_number_begins ON students (site_id, lower(number) text_pattern_ops);
ALTER INDEX students_number_begins ALTER COLUMN 2 SET STATISTICS 0;

-- The words of a name, which are in small letters already, are looked for without their accents.
UPDATE students SET name_words = array_to_tsvector(string_to_array(regexp_replace(
    replace(replace(replace(replace(translate(normalize(array_to_string(tsvector_to_array(name_words), ' '), NFKD),
        'øđðłı', 'oddli'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'),
    '[\u0300-\u036f]', '', 'g'), ' '));

-- As before, but who changes a student's section waits for no sighting of them, and no sighting for that: an erasure
-- changes the number, a key, and still waits for all who hold one.
CREATE OR REPLACE FUNCTION is_erased(site uuid, student uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    erased boolean;
BEGIN
    SELECT erased_at IS NOT NULL INTO erased FROM students WHERE site_id = site AND id = student FOR KEY SHARE;
    RETURN coalesce(erased, false);
END
$$;

-- Who is recognised no more, or again: the templates change for everybody who follows the gallery.
CREATE FUNCTION note_matched_students() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE templates t SET student_id = t.student_id
    FROM changed JOIN before USING (site_id, id)
    WHERE changed.is_matched <> before.is_matched AND t.site_id = changed.site_id AND t.student_id = changed.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_matched_students AFTER UPDATE ON students
    REFERENCING OLD TABLE AS before NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_matched_students();
