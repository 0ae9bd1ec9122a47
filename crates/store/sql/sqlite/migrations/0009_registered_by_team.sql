-- Each team has its own ids of registered devices: below its own topics none takes another's.
DROP TRIGGER revoked_with_the_claim;
DROP TRIGGER registered_counted;
DROP TRIGGER registered_uncounted;
CREATE TABLE registered_of_teams (
    subject        BLOB NOT NULL,
    team           TEXT NOT NULL,
    id             TEXT NOT NULL,
    name           TEXT,
    sub_type       TEXT NOT NULL,
    tags           TEXT NOT NULL, -- JSON array
    firmware_types TEXT NOT NULL, -- JSON array
    registered_at  INTEGER NOT NULL,
    PRIMARY KEY (subject, team)
) STRICT, WITHOUT ROWID;
INSERT INTO registered_of_teams (subject, team, id, name, sub_type, tags, firmware_types, registered_at)
    SELECT subject, team, id, name, sub_type, tags, firmware_types, registered_at FROM registered;
DROP TABLE registered;
ALTER TABLE registered_of_teams RENAME TO registered;
CREATE TRIGGER registered_counted AFTER INSERT ON registered BEGIN
    INSERT INTO counts (name, n) VALUES ('registered:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER registered_uncounted AFTER DELETE ON registered BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'registered:' || old.team;
END;
-- As before: the end of a claim takes back everything that was issued or registered under it.
CREATE TRIGGER revoked_with_the_claim AFTER INSERT ON tombstones BEGIN
    INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
        SELECT spki_sha256, device, team, serial, 1, new.unclaimed_at, not_after FROM lives WHERE device = new.device;
    INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
        SELECT der_sha256, subject, team, serial, 0, new.unclaimed_at, ends_at
        FROM registered_certificates WHERE subject = new.device;
    DELETE FROM registered_certificates WHERE subject = new.device;
    DELETE FROM registered WHERE subject = new.device;
END;

-- Uploads are worked off team by team.
DROP INDEX bulk_open;
CREATE INDEX bulk_open ON bulk_operations (team, id) WHERE status IN ('PENDING', 'IN_PROGRESS');
