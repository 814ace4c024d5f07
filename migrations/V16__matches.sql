-- Who has asked whose face it is, and what came of it: no face is kept. And the answers to requests with a request id,
-- for a day.
CREATE TABLE matches (
    site_id uuid NOT NULL REFERENCES sites,
    id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('identify', 'verify')),
    asked_by uuid NOT NULL REFERENCES users,
    asked_at timestamptz NOT NULL DEFAULT now(),
    by_image boolean NOT NULL,
    asked_student_id uuid,
    decision text NOT NULL CHECK (decision IN ('accepted', 'pending', 'unknown')),
    reason text NOT NULL,
    -- The best candidate.
    student_id uuid,
    similarity real,
    threshold real NOT NULL,
    threshold_version integer NOT NULL,
    PRIMARY KEY (site_id, id),
    CONSTRAINT matches_asked_student FOREIGN KEY (site_id, asked_student_id) REFERENCES students,
    CONSTRAINT matches_student FOREIGN KEY (site_id, student_id) REFERENCES students,
    CHECK ((kind = 'verify') = (asked_student_id IS NOT NULL)),
    CHECK ((student_id IS NULL) = (similarity IS NULL))
);
CREATE INDEX matches_asked_at ON matches (asked_at);

CREATE TABLE request_answers (
    site_id uuid NOT NULL REFERENCES sites,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    request_id uuid NOT NULL,
    -- Path of the method.
    method text NOT NULL,
    -- SHA-256 of the request's bytes.
    body_hash bytea NOT NULL CHECK (octet_length(body_hash) = 32),
    -- When it was begun, here or anew.
    begun_at timestamptz NOT NULL DEFAULT now(),
    is_done boolean NOT NULL DEFAULT false,
    -- Sealed by the keyring: answers have names of people. NULL where it is not kept.
    answer bytea,
    PRIMARY KEY (site_id, user_id, request_id),
    CHECK (is_done OR answer IS NULL)
);
CREATE INDEX request_answers_begun_at ON request_answers (begun_at);
