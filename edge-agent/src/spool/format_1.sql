-- The layout of format 1, which tests of the upgrade start from.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot_epoch INTEGER NOT NULL,
    spooled INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    lost_evidence INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO state (id, boot_epoch) VALUES (1, 0);
CREATE TABLE cursors (source TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sightings (
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    body BLOB NOT NULL,
    evidence BLOB,
    UNIQUE (boot_epoch, sequence)
) STRICT;
CREATE INDEX sightings_with_evidence ON sightings (boot_epoch, sequence) WHERE evidence IS NOT NULL;
CREATE TABLE rejected (
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (boot_epoch, sequence)
) STRICT;
CREATE TRIGGER sighting_added AFTER INSERT ON sightings BEGIN
    UPDATE state SET spooled = spooled + 1,
        bytes = bytes + length(NEW.body) + ifnull(length(NEW.evidence), 0) + 512;
END;
CREATE TRIGGER sighting_removed AFTER DELETE ON sightings BEGIN
    UPDATE state SET spooled = spooled - 1,
        bytes = bytes - length(OLD.body) - ifnull(length(OLD.evidence), 0) - 512;
END;
CREATE TRIGGER evidence_removed AFTER UPDATE OF evidence ON sightings BEGIN
    UPDATE state SET
        bytes = bytes - ifnull(length(OLD.evidence), 0) + ifnull(length(NEW.evidence), 0);
END;
PRAGMA user_version = 1;
