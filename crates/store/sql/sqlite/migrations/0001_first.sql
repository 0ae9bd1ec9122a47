-- What the service remembers. Times are milliseconds since 1970, ids are 16 raw bytes, keys are DER.

-- Facts about the database itself. 'seal-check' is a known text under the seal key.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How many rows a list has, so that its total costs the same for ten devices and ten million. Kept by triggers.
CREATE TABLE counts (
    name TEXT PRIMARY KEY,
    n    INTEGER NOT NULL CHECK (n >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),
    version       INTEGER NOT NULL CHECK (version > 0),
    candidates    BLOB NOT NULL, -- 92 bytes each: SPKI, then 0 = body is AAD, 1 = empty AAD
    pin           BLOB CHECK (pin IS NULL OR length(pin) = 91),
    device_type   INTEGER NOT NULL,
    firmware      BLOB NOT NULL CHECK (length(firmware) = 16),
    owner         TEXT NOT NULL,
    tags          TEXT NOT NULL, -- JSON array, in the owner's order
    blocked       INTEGER NOT NULL CHECK (blocked IN (0, 1)),
    claimed_at    INTEGER NOT NULL,
    last_seen_at  INTEGER,
    finished_at   INTEGER,
    next_sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Each device once per tag, and once under the empty tag, which stands for "all".
CREATE TABLE device_tags (
    tag     TEXT NOT NULL,
    device  BLOB NOT NULL,
    blocked INTEGER NOT NULL,
    PRIMARY KEY (tag, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_tags_by_blocked ON device_tags (tag, blocked, device);
CREATE INDEX device_tags_by_device ON device_tags (device);

CREATE TRIGGER device_tag_counted AFTER INSERT ON device_tags BEGIN
    INSERT INTO counts (name, n) VALUES ('tag:' || new.blocked || ':' || new.tag, 1)
        ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER device_tag_uncounted AFTER DELETE ON device_tags BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'tag:' || old.blocked || ':' || old.tag;
    DELETE FROM counts WHERE name = 'tag:' || old.blocked || ':' || old.tag AND n = 0;
END;

-- What an unclaimed device leaves behind: under which key it is known, and which versions are used up.
CREATE TABLE tombstones (
    device       BLOB PRIMARY KEY CHECK (length(device) = 16),
    version      INTEGER NOT NULL,
    candidates   BLOB NOT NULL,
    pin          BLOB,
    unclaimed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE commands (
    device         BLOB NOT NULL CHECK (length(device) = 16),
    id             BLOB NOT NULL CHECK (length(id) = 16),
    sequence       INTEGER NOT NULL,
    position_major INTEGER NOT NULL,
    position_minor INTEGER NOT NULL,
    rule_id        TEXT,
    description    TEXT,
    request        TEXT NOT NULL, -- JSON, secrets as digests
    secrets        BLOB,          -- sealed; gone at the terminal status
    status         TEXT NOT NULL CHECK (status IN ('PENDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED')),
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER,
    requested_at   INTEGER,
    responded_at   INTEGER,
    covered_at     INTEGER,
    response       TEXT,          -- JSON
    PRIMARY KEY (device, id),
    CHECK (secrets IS NULL OR status IN ('PENDING', 'IN_PROGRESS'))
) STRICT;
CREATE INDEX commands_open ON commands (device, position_major, position_minor)
    WHERE status IN ('PENDING', 'IN_PROGRESS');

-- Every certificate ever issued, to any device: one per public key, never deleted.
CREATE TABLE issued (
    number      INTEGER PRIMARY KEY,
    spki_sha256 BLOB NOT NULL UNIQUE CHECK (length(spki_sha256) = 32),
    serial      TEXT NOT NULL,
    certificate BLOB NOT NULL,
    device      BLOB NOT NULL,
    command     BLOB NOT NULL,
    issued_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX issued_by_device ON issued (device, number);

CREATE TABLE allow_list (
    device   BLOB PRIMARY KEY CHECK (length(device) = 16),
    kid      BLOB NOT NULL CHECK (length(kid) = 32),
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER allowed_counted AFTER INSERT ON allow_list BEGIN
    INSERT INTO counts (name, n) VALUES ('allowed', 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER allowed_uncounted AFTER DELETE ON allow_list BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'allowed';
END;

CREATE TABLE api_keys (
    name       TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    role       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- Never deleted from, so that the last number is the count.
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    by      TEXT NOT NULL,
    action  TEXT NOT NULL,
    device  BLOB,
    command BLOB,
    detail  TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_device ON audit (device, number) WHERE device IS NOT NULL;
