-- Mails to those who were there too seldom, after marks are final: each once for a person, a term and a limit.

CREATE TABLE warning_policies (
    site_id uuid PRIMARY KEY REFERENCES sites,
    is_enabled boolean NOT NULL DEFAULT false,
    -- Below which share somebody is written to, in tenths of a percent.
    below integer NOT NULL DEFAULT 800 CHECK (below BETWEEN 1 AND 1000),
    -- Of fewer sessions that count nothing is said.
    least_sessions integer NOT NULL DEFAULT 5 CHECK (least_sessions BETWEEN 1 AND 1000),
    -- Whether the students themselves are written to.
    to_students boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 1,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by uuid NOT NULL REFERENCES users,
    -- Up to when final marks were looked at; NULL: not since the policy was changed.
    noted_until timestamptz
);

-- Who is written to of the students of a section.
CREATE TABLE warning_contacts (
    site_id uuid NOT NULL REFERENCES sites,
    section text NOT NULL,
    email text NOT NULL,
    PRIMARY KEY (site_id, section, email)
);

CREATE TABLE warning_mails (
    site_id uuid NOT NULL,
    id uuid NOT NULL,
    student_id uuid NOT NULL,
    term_id uuid NOT NULL,
    below integer NOT NULL,
    -- An address; `erased-` and the mail's id once the student is erased.
    recipient text NOT NULL,
    -- The student themselves, or a contact.
    is_to_student boolean NOT NULL,
    -- As it was when it was noted.
    attended integer NOT NULL,
    counted integer NOT NULL,
    -- `unsure`: a server was stopped while it sent, and nobody knows whether it came; it is not sent again by itself.
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'sending', 'sent', 'failed', 'unsure', 'dropped')),
    attempts integer NOT NULL DEFAULT 0,
    -- When it is sent, or by when sending it must have ended.
    due_at timestamptz NOT NULL DEFAULT now(),
    problem text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    PRIMARY KEY (site_id, id),
    CONSTRAINT warning_mails_once UNIQUE (site_id, student_id, term_id, below, recipient),
    CONSTRAINT warning_mails_student FOREIGN KEY (site_id, student_id) REFERENCES students,
    CONSTRAINT warning_mails_term FOREIGN KEY (site_id, term_id) REFERENCES terms ON DELETE CASCADE
);
CREATE INDEX warning_mails_due ON warning_mails (due_at) WHERE state IN ('waiting', 'sending');
CREATE INDEX warning_mails_created ON warning_mails (site_id, created_at DESC, id DESC);
-- Statistics would keep addresses of erased students.
ALTER TABLE warning_mails ALTER COLUMN recipient SET STATISTICS 0;

-- Nobody writes to, or of, who was erased; no address stays.
CREATE FUNCTION forget_mails_of_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE warning_mails SET recipient = 'erased-' || id::text, problem = '',
        state = CASE WHEN state IN ('waiting', 'failed', 'unsure') THEN 'dropped' ELSE state END
        WHERE site_id = NEW.site_id AND student_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_mails_of_erased AFTER UPDATE OF erased_at ON students
    FOR EACH ROW WHEN (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL) EXECUTE FUNCTION forget_mails_of_erased();
