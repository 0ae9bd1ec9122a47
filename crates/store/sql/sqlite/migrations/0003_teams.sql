-- Teams: whose a device, a key, an entry of the allow-list is. The home's own team enters itself at the start of the
-- service; rows that name nobody ('') are its.
CREATE TABLE teams (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    topic_prefix TEXT,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX teams_by_name ON teams (name);
CREATE UNIQUE INDEX teams_by_topic_prefix ON teams (topic_prefix) WHERE topic_prefix IS NOT NULL;
CREATE TRIGGER team_counted AFTER INSERT ON teams BEGIN
    INSERT INTO counts (name, n) VALUES ('teams', 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER team_uncounted AFTER DELETE ON teams BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'teams';
END;

ALTER TABLE api_keys RENAME TO api_keys_alone;
CREATE TABLE api_keys (
    team       TEXT NOT NULL,
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    role       TEXT NOT NULL,
    tags       TEXT NOT NULL, -- JSON array; empty: all devices of the team
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    PRIMARY KEY (team, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);
CREATE TRIGGER api_key_counted AFTER INSERT ON api_keys BEGIN
    INSERT INTO counts (name, n) VALUES ('keys:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER api_key_uncounted AFTER DELETE ON api_keys BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'keys:' || old.team;
END;
CREATE TRIGGER api_key_moved AFTER UPDATE OF team ON api_keys BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'keys:' || old.team;
    INSERT INTO counts (name, n) VALUES ('keys:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
INSERT INTO api_keys (team, name, hash, role, tags, created_at, revoked_at)
    SELECT '', name, hash, role, '[]', created_at, revoked_at FROM api_keys_alone;

DROP TRIGGER allowed_counted;
DROP TRIGGER allowed_uncounted;
DELETE FROM counts WHERE name = 'allowed';
ALTER TABLE allow_list RENAME TO allow_list_alone;
CREATE TABLE allow_list (
    team     TEXT NOT NULL,
    device   BLOB NOT NULL CHECK (length(device) = 16),
    kid      BLOB NOT NULL CHECK (length(kid) = 32),
    added_at INTEGER NOT NULL,
    PRIMARY KEY (team, device)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER allowed_counted AFTER INSERT ON allow_list BEGIN
    INSERT INTO counts (name, n) VALUES ('allowed:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER allowed_uncounted AFTER DELETE ON allow_list BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'allowed:' || old.team;
END;
CREATE TRIGGER allowed_moved AFTER UPDATE OF team ON allow_list BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'allowed:' || old.team;
    INSERT INTO counts (name, n) VALUES ('allowed:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
INSERT INTO allow_list (team, device, kid, added_at) SELECT '', device, kid, added_at FROM allow_list_alone;
DROP TABLE allow_list_alone;

-- Tier 1: claimed by a key of an admin or an owner, which editors and viewers may not see (spec/owner-api §1).
ALTER TABLE devices ADD COLUMN tier INTEGER NOT NULL DEFAULT 0 CHECK (tier IN (0, 1));
UPDATE devices SET tier = 1
WHERE (SELECT role FROM api_keys_alone
       WHERE name = (SELECT by FROM audit
                     WHERE audit.device = devices.id AND action = 'claim'
                     ORDER BY number DESC LIMIT 1)) IN ('admin', 'owner');
DROP TABLE api_keys_alone;

-- Each device once per tag, and once under the empty tag, which stands for "all". A list is merged from streams, one for
-- each (tag, tier, blocked) that it is about; each stream is one stretch of the primary key, in the order of the ids.
DROP TRIGGER device_tag_counted;
DROP TRIGGER device_tag_uncounted;
DELETE FROM counts WHERE name LIKE 'tag:%';
DROP INDEX device_tags_by_blocked;
DROP INDEX device_tags_by_device;
ALTER TABLE device_tags RENAME TO device_tags_alone;
CREATE TABLE device_tags (
    team    TEXT NOT NULL,
    tag     TEXT NOT NULL,
    tier    INTEGER NOT NULL CHECK (tier IN (0, 1)),
    blocked INTEGER NOT NULL CHECK (blocked IN (0, 1)),
    device  BLOB NOT NULL,
    PRIMARY KEY (team, tag, tier, blocked, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_tags_by_device ON device_tags (device);
CREATE TRIGGER device_tag_counted AFTER INSERT ON device_tags BEGIN
    INSERT INTO counts (name, n)
        VALUES ('tag:' || new.team || ':' || new.tier || ':' || new.blocked || ':' || new.tag, 1)
        ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER device_tag_uncounted AFTER DELETE ON device_tags BEGIN
    UPDATE counts SET n = n - 1
        WHERE name = 'tag:' || old.team || ':' || old.tier || ':' || old.blocked || ':' || old.tag;
    DELETE FROM counts
        WHERE name = 'tag:' || old.team || ':' || old.tier || ':' || old.blocked || ':' || old.tag AND n = 0;
END;
INSERT INTO device_tags (team, tag, tier, blocked, device)
    SELECT d.owner, t.tag, d.tier, d.blocked, t.device
    FROM device_tags_alone AS t CROSS JOIN devices AS d ON d.id = t.device;
DROP TABLE device_tags_alone;
