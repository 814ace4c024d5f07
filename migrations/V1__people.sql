-- Sites, the people who work with them, and students. What belongs to a site says so in its row, in its keys and in
-- its foreign keys, so that no row can refer to one of another site. Ids are UUIDv7, made by the server. Times are UTC.

-- Schools and company locations.
CREATE TABLE sites (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- From then on it can be looked at only, and its devices are not admitted.
    archived_at timestamptz
);
-- Whoever has one site never notices that there are sites.
INSERT INTO sites (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'main');

CREATE FUNCTION note_sites() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Delivered at the commit: servers open and close galleries, and streams of devices look for themselves.
    PERFORM pg_notify('cavs_sites', '');
    PERFORM pg_notify('cavs_devices', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER note_sites AFTER INSERT OR UPDATE ON sites FOR EACH STATEMENT EXECUTE FUNCTION note_sites();

CREATE TABLE users (
    id uuid PRIMARY KEY,
    username text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    -- May do everything in all sites, and alone manages them.
    is_operator boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Who may do what where.
CREATE TABLE user_roles (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    site_id uuid NOT NULL REFERENCES sites,
    role text NOT NULL CHECK (role IN ('admin', 'reviewer', 'viewer', 'capture')),
    PRIMARY KEY (user_id, site_id)
);

CREATE TABLE user_sessions (
    -- SHA-256 of the token: a reader of the database can't log in.
    token_hash bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX user_sessions_expires ON user_sessions (expires_at);

CREATE TABLE students (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    number text NOT NULL,
    name text NOT NULL,
    section text NOT NULL DEFAULT '',
    -- The words of the name, in small letters: what people look for.
    name_words tsvector NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    PRIMARY KEY (site_id, id),
    CONSTRAINT students_number UNIQUE (site_id, number),
    -- An erased student keeps a pseudonym, so that the number can be given again. That the number changes with the
    -- erasure has it wait for all who hold the row by a foreign key, too.
    CONSTRAINT students_erased CHECK (erased_at IS NULL
        OR (number LIKE 'erased-%' AND name = '' AND section = '' AND name_words = ''))
);
CREATE INDEX students_section ON students (site_id, section, number);
CREATE INDEX students_name_words ON students USING gin (name_words);
-- Statistics would keep names and numbers of erased students.
ALTER TABLE students ALTER COLUMN number SET STATISTICS 0, ALTER COLUMN name SET STATISTICS 0,
    ALTER COLUMN name_words SET STATISTICS 0;

CREATE FUNCTION keep_student_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the student was erased' USING ERRCODE = 'CV101';
END
$$;
CREATE TRIGGER keep_student_erased BEFORE UPDATE ON students FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL
        AND (NEW.erased_at IS DISTINCT FROM OLD.erased_at OR NEW.number <> OLD.number OR NEW.name <> ''))
    EXECUTE FUNCTION keep_student_erased();
