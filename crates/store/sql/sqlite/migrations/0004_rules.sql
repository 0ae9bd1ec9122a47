-- Rules and the registry of tags, both per team.
CREATE TABLE tags (
    team        TEXT NOT NULL,
    tag         TEXT NOT NULL,
    description TEXT,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (team, tag)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER tag_counted AFTER INSERT ON tags BEGIN
    INSERT INTO counts (name, n) VALUES ('tags:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER tag_uncounted AFTER DELETE ON tags BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'tags:' || old.team;
END;

-- Numbers rise by creation and are never reused: rules of a device apply in their order.
CREATE TABLE rules (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    team         TEXT NOT NULL,
    name         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('DRAFT', 'ACTIVE')),
    content      TEXT NOT NULL, -- JSON, secrets as digests
    secrets      BLOB           -- sealed
) STRICT;
CREATE UNIQUE INDEX rules_by_name ON rules (team, name);
CREATE INDEX rules_by_team ON rules (team, number);
CREATE INDEX rules_active ON rules (team, number) WHERE state = 'ACTIVE';
CREATE TRIGGER rule_counted AFTER INSERT ON rules BEGIN
    INSERT INTO counts (name, n) VALUES ('rules:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER rule_uncounted AFTER DELETE ON rules BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'rules:' || old.team;
END;

-- Raised whenever the active rules of a team change. A device that has seen this number has nothing to look for, so a
-- fetch costs one probe here however many rules there are.
CREATE TABLE rule_generations (
    team       TEXT PRIMARY KEY,
    generation INTEGER NOT NULL CHECK (generation > 0)
) STRICT, WITHOUT ROWID;
ALTER TABLE devices ADD COLUMN rules_seen INTEGER NOT NULL DEFAULT 0;

-- Which rules a device got since its claim or its last reset.
CREATE TABLE rules_applied (
    device BLOB NOT NULL CHECK (length(device) = 16),
    rule   BLOB NOT NULL CHECK (length(rule) = 16),
    PRIMARY KEY (device, rule)
) STRICT, WITHOUT ROWID;

-- What happens when a command fails: JSON, NULL for the vendor's way.
ALTER TABLE commands ADD COLUMN on_error TEXT;
ALTER TABLE commands ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE commands ADD COLUMN parked INTEGER NOT NULL DEFAULT 0 CHECK (parked IN (0, 1));
