-- Certificates that are never let in again. `mark` is the SHA-256 of the public key for one issued here (a key is certified
-- once), and of the whole certificate for one that was registered. `subject` is the 16 bytes of a device id, or 'id:' and
-- the id of a registered device that is no UUID. Never deleted from, so that what was read is read again by number.
CREATE TABLE revoked (
    number     INTEGER PRIMARY KEY,
    mark       BLOB NOT NULL UNIQUE CHECK (length(mark) = 32),
    subject    BLOB NOT NULL,
    team       TEXT NOT NULL,
    serial     TEXT NOT NULL,
    issued     INTEGER NOT NULL CHECK (issued IN (0, 1)), -- 1: by a CA of this home
    revoked_at INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX revoked_by_subject ON revoked (subject);
-- What a revocation list is made of.
CREATE INDEX revoked_by_team ON revoked (team) WHERE issued = 1;

-- Devices whose certificates other CAs signed (spec/owner-api §10).
CREATE TABLE registered (
    subject        BLOB PRIMARY KEY,
    id             TEXT NOT NULL,
    team           TEXT NOT NULL,
    name           TEXT,
    sub_type       TEXT NOT NULL,
    tags           TEXT NOT NULL, -- JSON array
    firmware_types TEXT NOT NULL, -- JSON array
    registered_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER registered_counted AFTER INSERT ON registered BEGIN
    INSERT INTO counts (name, n) VALUES ('registered:' || new.team, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER registered_uncounted AFTER DELETE ON registered BEGIN
    UPDATE counts SET n = n - 1 WHERE name = 'registered:' || old.team;
END;

CREATE TABLE registered_certificates (
    number        INTEGER PRIMARY KEY,
    der_sha256    BLOB NOT NULL CHECK (length(der_sha256) = 32),
    spki_sha256   BLOB NOT NULL CHECK (length(spki_sha256) = 32),
    subject       BLOB NOT NULL,
    team          TEXT NOT NULL,
    serial        TEXT NOT NULL,
    issuer        TEXT NOT NULL,
    certificate   BLOB NOT NULL,
    registered_at INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL
) STRICT;
-- Covers what the broker needs of each pin, so that a start reads no certificate.
CREATE UNIQUE INDEX registered_pins ON registered_certificates (der_sha256, team, ends_at);
CREATE INDEX registered_certificates_by_subject ON registered_certificates (subject, number);
CREATE INDEX registered_certificates_by_key ON registered_certificates (spki_sha256);

-- Which claimed devices the broker has to keep out.
CREATE INDEX devices_blocked ON devices (id) WHERE blocked = 1;

-- Uploads that are worked off in the background. `body` is gone when it is done.
CREATE TABLE bulk_operations (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('register', 'claim')),
    team        TEXT NOT NULL,
    by          TEXT NOT NULL,
    role        TEXT NOT NULL,
    scope       TEXT NOT NULL, -- JSON array: tags of the key that asked
    status      TEXT NOT NULL CHECK (status IN ('PENDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED')),
    total       INTEGER NOT NULL,
    done        INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    body        BLOB,
    errors      TEXT NOT NULL, -- JSON array of texts
    secret      TEXT NOT NULL,
    CHECK ((body IS NULL) = (status IN ('SUCCEEDED', 'FAILED')))
) STRICT, WITHOUT ROWID;
CREATE INDEX bulk_open ON bulk_operations (id) WHERE status IN ('PENDING', 'IN_PROGRESS');
CREATE INDEX bulk_by_team ON bulk_operations (team, id);

-- Whatever takes back a certificate that was issued here, it is kept out from then on.
CREATE TRIGGER revoked_with_its_life AFTER UPDATE OF state ON lives WHEN new.state = 'revoked' BEGIN
    INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
        VALUES (new.spki_sha256, new.device, new.team, new.serial, 1, coalesce(new.ended_at, 0), new.not_after);
END;
-- The end of a claim takes back everything that was issued or registered under it, what was superseded as well.
CREATE TRIGGER revoked_with_the_claim AFTER INSERT ON tombstones BEGIN
    INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
        SELECT spki_sha256, device, team, serial, 1, new.unclaimed_at, not_after FROM lives WHERE device = new.device;
    INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
        SELECT der_sha256, subject, team, serial, 0, new.unclaimed_at, ends_at
        FROM registered_certificates WHERE subject = new.device;
    DELETE FROM registered_certificates WHERE subject = new.device;
    DELETE FROM registered WHERE subject = new.device;
END;
-- Devices that were unclaimed before there was this table.
INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
    SELECT l.spki_sha256, l.device, l.team, l.serial, 1, t.unclaimed_at, l.not_after
    FROM tombstones AS t JOIN lives AS l ON l.device = t.device;
