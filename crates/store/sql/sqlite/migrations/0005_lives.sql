-- The life of every issued certificate. `issued` proves that a key is certified once; here is what became of it.
CREATE TABLE lives (
    spki_sha256  BLOB PRIMARY KEY CHECK (length(spki_sha256) = 32),
    device       BLOB NOT NULL CHECK (length(device) = 16),
    team         TEXT NOT NULL,
    serial       TEXT NOT NULL,
    csr          BLOB NOT NULL CHECK (length(csr) = 16),
    certificate  BLOB CHECK (certificate IS NULL OR length(certificate) = 16),
    sec_tag      INTEGER,
    rule_id      TEXT,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL,
    issued_at    INTEGER NOT NULL,
    written_at   INTEGER,
    used_at      INTEGER,
    last_used_at INTEGER,
    state        TEXT NOT NULL CHECK (state IN ('issued', 'written', 'used', 'expired', 'superseded', 'revoked')),
    ended_at     INTEGER,
    alarm_days   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX lives_by_device ON lives (device, issued_at);
-- What a forecast walks along: only what counts, by its end.
CREATE INDEX lives_by_team_and_end ON lives (team, not_after, spki_sha256)
    WHERE state IN ('issued', 'written', 'used', 'expired');
CREATE INDEX lives_by_end ON lives (not_after, spki_sha256) WHERE state IN ('issued', 'written', 'used');

-- One run per certificate that is renewed.
CREATE TABLE renewals (
    old           BLOB PRIMARY KEY CHECK (length(old) = 32),
    device        BLOB NOT NULL CHECK (length(device) = 16),
    team          TEXT NOT NULL,
    rule_id       TEXT NOT NULL,
    sec_tag       INTEGER NOT NULL,
    in_place      INTEGER NOT NULL CHECK (in_place IN (0, 1)),
    started_at    INTEGER NOT NULL,
    step          TEXT NOT NULL
        CHECK (step IN ('waiting', 'key', 'certificate', 'switch', 'connect', 'done', 'abandoned')),
    step_at       INTEGER NOT NULL,
    command       BLOB CHECK (command IS NULL OR length(command) = 16),
    new           BLOB CHECK (new IS NULL OR length(new) = 32),
    attempts      INTEGER NOT NULL,
    retry_at      INTEGER NOT NULL,
    failing_since INTEGER,
    reason        TEXT,
    alarmed_at    INTEGER,
    ended_at      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX renewals_by_device ON renewals (device, started_at);
CREATE INDEX renewals_by_new ON renewals (new) WHERE new IS NOT NULL;
CREATE INDEX renewals_open ON renewals (started_at, old) WHERE ended_at IS NULL;
CREATE INDEX renewals_open_by_team ON renewals (team, started_at, old) WHERE ended_at IS NULL;

-- Alarms about certificates that have no life here (the home's own, foreign ones), by the SHA-256 of the whole certificate.
CREATE TABLE certificate_alarms (
    der_sha256 BLOB PRIMARY KEY CHECK (length(der_sha256) = 32),
    days       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whoever claims the device next gets no certificate with it.
CREATE TRIGGER lives_end_with_the_claim AFTER INSERT ON tombstones BEGIN
    UPDATE lives SET state = 'revoked', ended_at = new.unclaimed_at
    WHERE device = new.device AND state IN ('issued', 'written', 'used', 'expired');
    UPDATE renewals SET step = 'abandoned', step_at = new.unclaimed_at, ended_at = new.unclaimed_at
    WHERE device = new.device AND ended_at IS NULL;
END;
