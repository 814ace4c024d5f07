-- The main job: students and their templates, devices, sightings with their reviews, people who log in.
-- Ids are UUIDv7, made by the server. Times are UTC.

CREATE TABLE vault (
    -- One row: proves at start that the key-encryption key is the one the data was sealed with.
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    proof bytea NOT NULL
);

CREATE TABLE users (
    id uuid PRIMARY KEY,
    username text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'reviewer', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE user_sessions (
    -- SHA-256 of the token: a reader of the database can't log in.
    token_hash bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX ON user_sessions (expires_at);

CREATE TABLE students (
    id uuid PRIMARY KEY,
    number text NOT NULL UNIQUE,
    name text NOT NULL,
    section text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON students (section, number);

-- The data key of a student's templates, wrapped by the key-encryption key. Without its row the
-- templates are noise.
CREATE TABLE student_keys (
    student_id uuid PRIMARY KEY REFERENCES students ON DELETE CASCADE,
    wrapped bytea NOT NULL
);

CREATE TABLE templates (
    id uuid PRIMARY KEY,
    student_id uuid NOT NULL REFERENCES students ON DELETE CASCADE,
    pack_digest bytea NOT NULL CHECK (octet_length(pack_digest) = 32),
    embedding bytea NOT NULL,
    source text NOT NULL CHECK (source IN ('image')),
    quality jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- Ciphertext does not compress, and a row fits into a page: keep it out of TOAST.
ALTER TABLE templates ALTER COLUMN embedding SET STORAGE MAIN;
CREATE INDEX ON templates (student_id);
CREATE INDEX ON templates (pack_digest);

CREATE TABLE devices (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('agent', 'esp32_cam')),
    classroom text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz,
    agent_version text NOT NULL DEFAULT '',
    pack_digest bytea CHECK (octet_length(pack_digest) = 32),
    spooled bigint NOT NULL DEFAULT 0,
    lost bigint NOT NULL DEFAULT 0
);

-- Data keys of probes and evidence, one a month: destroying a row makes the month's faces noise.
CREATE TABLE sighting_keys (
    month date PRIMARY KEY,
    wrapped bytea NOT NULL
);

CREATE TABLE sightings (
    id uuid PRIMARY KEY,
    device_id uuid NOT NULL REFERENCES devices,
    boot_epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    -- The room of the device at the time.
    classroom text NOT NULL,
    captured_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    frame text NOT NULL,
    -- How far captured_at can be trusted, as the device says.
    clock_trust text NOT NULL CHECK (clock_trust IN ('unknown', 'synchronised', 'corrected', 'unsynchronised')),
    clock_uncertainty_ms bigint,
    -- The track that the sighting stands for; NULL where every face of every frame is a sighting.
    track_id bigint,
    track_entered_at timestamptz,
    track_last_seen_at timestamptz,
    track_left boolean,
    CHECK ((track_id IS NULL) = (track_entered_at IS NULL)
        AND (track_id IS NULL) = (track_last_seen_at IS NULL) AND (track_id IS NULL) = (track_left IS NULL)),
    box_x real NOT NULL,
    box_y real NOT NULL,
    box_width real NOT NULL,
    box_height real NOT NULL,
    detection_score real NOT NULL,
    quality jsonb NOT NULL,
    liveness real,
    key_month date NOT NULL REFERENCES sighting_keys,
    pack_digest bytea NOT NULL CHECK (octet_length(pack_digest) = 32),
    probe bytea NOT NULL,

    -- The prediction: written once, never changed.
    decision text NOT NULL CHECK (decision IN ('accepted', 'pending', 'unknown')),
    reason text NOT NULL,
    predicted_student_id uuid REFERENCES students,
    similarity real,
    margin real,
    threshold real NOT NULL,
    candidates jsonb NOT NULL,
    CHECK ((decision = 'unknown') = (predicted_student_id IS NULL)),

    -- The review: a person's verdict.
    verdict text CHECK (verdict IN ('approved', 'rejected', 'flagged')),
    reviewer_id uuid REFERENCES users,
    reviewed_at timestamptz,
    review_notes text NOT NULL DEFAULT '',
    corrected_student_id uuid REFERENCES students,
    CHECK ((verdict IS NULL) = (reviewer_id IS NULL) AND (verdict IS NULL) = (reviewed_at IS NULL)),

    -- Who it was: a person's word before the machine's.
    student_id uuid GENERATED ALWAYS AS (
        CASE verdict
            WHEN 'approved' THEN coalesce(corrected_student_id, predicted_student_id)
            WHEN 'rejected' THEN corrected_student_id
            ELSE CASE decision WHEN 'accepted' THEN predicted_student_id END
        END
    ) STORED,
    -- Whether it waits for a person.
    in_queue boolean GENERATED ALWAYS AS (
        CASE WHEN verdict IS NULL THEN decision = 'pending' ELSE verdict = 'flagged' END
    ) STORED,

    -- What makes delivery exactly-once.
    UNIQUE (device_id, boot_epoch, sequence)
);
CREATE INDEX ON sightings (captured_at DESC, id DESC);
CREATE INDEX ON sightings (captured_at, id) WHERE in_queue;
CREATE INDEX ON sightings (student_id, captured_at DESC);
CREATE INDEX ON sightings (device_id, captured_at DESC);

CREATE TABLE evidence (
    sighting_id uuid PRIMARY KEY REFERENCES sightings ON DELETE CASCADE,
    -- A sealed JPEG: it does not compress.
    image bytea NOT NULL
);
ALTER TABLE evidence ALTER COLUMN image SET STORAGE EXTERNAL;
