-- The team that an entry is about. Entries of before have none, and hash as they did (docs/reference/audit.md).
ALTER TABLE audit ADD COLUMN team TEXT;
CREATE INDEX audit_by_team ON audit (team, number);

CREATE TRIGGER audit_counted AFTER INSERT ON audit BEGIN
    INSERT INTO counts (name, n) VALUES ('audit:' || coalesce(new.team, ''), 1)
        ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
INSERT INTO counts (name, n) SELECT 'audit:', count(*) FROM audit;

-- What happened, for whoever follows. An entry of the audit trail is told by its number and not written twice. The oldest
-- rows go when there are too many; the newest one stays, so that no number comes twice.
CREATE TABLE events (
    number  INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL,
    audit   INTEGER, -- the entry it tells; what follows is empty then
    at      INTEGER,
    team    TEXT,
    device  BLOB,
    command BLOB,
    data    TEXT     -- JSON object
) STRICT;

-- Entries of the audit trail that somebody should look at, until somebody said that he did. Team '' is the service.
CREATE TABLE alarms (
    number          INTEGER PRIMARY KEY,
    team            TEXT NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT
) STRICT;
CREATE INDEX alarms_by_team ON alarms (team, number);
CREATE INDEX alarms_open ON alarms (team, number) WHERE acknowledged_at IS NULL;

CREATE TRIGGER alarm_counted AFTER INSERT ON alarms BEGIN
    INSERT INTO counts (name, n) VALUES ('alarms:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
    INSERT INTO counts (name, n) VALUES ('alarms-open:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER alarm_closed AFTER UPDATE OF acknowledged_at ON alarms
WHEN old.acknowledged_at IS NULL AND new.acknowledged_at IS NOT NULL BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'alarms-open:' || new.team;
END;
INSERT INTO alarms (number, team) SELECT number, '' FROM audit WHERE action LIKE '%-alarm';

-- Where events are sent. Everything behind the cursor is still to be sent.
CREATE TABLE webhooks (
    id                TEXT PRIMARY KEY,
    team              TEXT NOT NULL,
    url               TEXT NOT NULL,
    kinds             TEXT NOT NULL, -- JSON array; empty for all
    secret            BLOB NOT NULL, -- sealed
    created_at        INTEGER NOT NULL,
    created_by        TEXT NOT NULL,
    paused            INTEGER NOT NULL CHECK (paused IN (0, 1)),
    cursor            INTEGER NOT NULL,
    attempts          INTEGER NOT NULL, -- in vain, since the last success
    failing_since     INTEGER,
    parked_at         INTEGER,
    last_error        TEXT,
    last_delivered_at INTEGER
) STRICT, WITHOUT ROWID;
