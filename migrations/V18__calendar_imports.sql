-- A session that its calendar's file had no more, and has again, takes place again; one that a person has cancelled
-- does not.
ALTER TABLE class_sessions ADD COLUMN is_cancelled_by_import boolean NOT NULL DEFAULT false;
