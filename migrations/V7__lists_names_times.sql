-- Texts that are compared as people read them, an erasure that takes names along, devices that can be
-- replaced under their name, times that nobody can believe, and an index for each way a list is asked for.

-- Numbers and names as the server now stores them: composed (NFC), and numbers and user names with the
-- width of their characters folded. Whoever would then share a number with another stays as they are. A
-- database in another encoding than UTF-8 can't normalise: there, texts change as they are written anew.
DO $$
DECLARE
    one record;
    folded text;
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RETURN;
    END IF;
    FOR one IN SELECT 'students' AS held, id, number AS text FROM students
        UNION ALL SELECT 'users', id, username FROM users
    LOOP
        CONTINUE WHEN octet_length(one.text) = length(one.text);
        -- The block of half-width and full-width forms, and the wide space.
        SELECT normalize(string_agg(CASE WHEN ascii(c) BETWEEN 65280 AND 65519 OR ascii(c) = 12288
                                    THEN normalize(c, NFKC) ELSE c END, '' ORDER BY n), NFC)
            INTO folded FROM regexp_split_to_table(one.text, '') WITH ORDINALITY AS t (c, n);
        IF one.held = 'students' THEN
            UPDATE students SET number = folded
                WHERE id = one.id AND NOT EXISTS (SELECT FROM students WHERE number = folded);
        ELSE
            UPDATE users SET username = folded
                WHERE id = one.id AND NOT EXISTS (SELECT FROM users WHERE username = folded);
        END IF;
    END LOOP;
    UPDATE students SET name = normalize(name, NFC), section = normalize(section, NFC)
        WHERE name IS NOT NFC NORMALIZED OR section IS NOT NFC NORMALIZED;
    FOR one IN SELECT id, name AS text FROM devices WHERE name IS NOT NFC NORMALIZED LOOP
        folded := normalize(one.text, NFC);
        UPDATE devices SET name = folded
            WHERE id = one.id AND NOT EXISTS (SELECT FROM devices WHERE name = folded);
    END LOOP;
    UPDATE devices SET classroom = normalize(classroom, NFC) WHERE classroom IS NOT NFC NORMALIZED;
    UPDATE sightings SET classroom = normalize(classroom, NFC) WHERE classroom IS NOT NFC NORMALIZED;
END
$$;

-- The words of a name, in small letters: what people look for.
ALTER TABLE students ADD COLUMN name_words tsvector NOT NULL DEFAULT '';
UPDATE students SET name_words = array_to_tsvector(ARRAY(
    SELECT DISTINCT word FROM regexp_split_to_table(lower(name), '[\s!-/:-@[-`{-~]+') AS word
    WHERE word <> ''));
CREATE INDEX students_name_words ON students USING gin (name_words);

-- Statistics would keep names and numbers of erased students. A change of the type, though it is none,
-- drops those that there are.
ALTER TABLE students ALTER COLUMN number TYPE text, ALTER COLUMN name TYPE text,
    ALTER COLUMN name_words TYPE tsvector;
ALTER TABLE students ALTER COLUMN number SET STATISTICS 0, ALTER COLUMN name SET STATISTICS 0,
    ALTER COLUMN name_words SET STATISTICS 0;

-- An erased student keeps a pseudonym only, so that the number can be given again.
UPDATE students SET number = 'erased-' || right(replace(id::text, '-', ''), 16), name = '', section = '',
    name_words = '' WHERE erased_at IS NOT NULL;

-- A revoked device's name is free again.
ALTER TABLE devices DROP CONSTRAINT devices_name_key;
CREATE UNIQUE INDEX devices_active_name ON devices (name) WHERE status = 'active';
CREATE INDEX devices_name_id ON devices (name, id);

-- captured_at (or a time of the track) is too far from the server's clock to be believed; see
-- `CapturedSighting::time_is_plausible`. Such a sighting stands in lists where it was received: its own
-- time would keep it at their head or their end for ever.
DROP INDEX sightings_captured_at_id_idx, sightings_captured_at_id_idx1, sightings_student_id_captured_at_idx,
    sightings_device_id_captured_at_idx;
ALTER TABLE sightings ADD COLUMN time_implausible boolean NOT NULL DEFAULT false;
UPDATE sightings SET time_implausible = true
    WHERE captured_at > received_at + interval '5 minutes' OR captured_at < received_at - interval '90 days';
ALTER TABLE sightings ADD COLUMN listed_at timestamptz NOT NULL
    GENERATED ALWAYS AS (CASE WHEN time_implausible THEN received_at ELSE captured_at END) STORED;

-- One for each filter of the lists, in their order.
CREATE INDEX sightings_listed ON sightings (listed_at DESC, id DESC);
CREATE INDEX sightings_queue ON sightings (listed_at, id) WHERE in_queue;
CREATE INDEX sightings_student ON sightings (student_id, listed_at DESC, id DESC) WHERE student_id IS NOT NULL;
CREATE INDEX sightings_device ON sightings (device_id, listed_at DESC, id DESC);
CREATE INDEX sightings_classroom ON sightings (classroom, listed_at DESC, id DESC);
CREATE INDEX sightings_decision ON sightings (decision, listed_at DESC, id DESC);
-- What new thresholds would have decided is asked of a pack's latest sightings.
CREATE INDEX sightings_pack ON sightings (pack_digest, listed_at DESC);
