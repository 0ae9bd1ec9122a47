-- Each entry carries a hash over itself and the hash before it (docs/reference/audit.md). The rows of audit_unchained
-- are chained by the program in the same transaction, which drops that table then.
ALTER TABLE audit RENAME TO audit_unchained;
DROP INDEX audit_by_device;

CREATE TABLE audit (
    number  INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    by      TEXT NOT NULL,
    action  TEXT NOT NULL,
    device  BLOB,
    command BLOB,
    detail  TEXT NOT NULL,
    before  TEXT, -- JSON
    after   TEXT, -- JSON
    hash    BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_by_device ON audit (device, number) WHERE device IS NOT NULL;

-- What a key outside of this database signed; beside it in a file as well.
CREATE TABLE audit_checkpoints (
    number    INTEGER PRIMARY KEY,
    hash      BLOB NOT NULL CHECK (length(hash) = 32),
    at        INTEGER NOT NULL,
    signature BLOB NOT NULL
) STRICT;
