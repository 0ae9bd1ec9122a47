INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
SELECT spki_sha256, device, team, serial, 1, ?4, not_after FROM lives WHERE device = ?1 AND team IN (?2, '') AND serial = ?3
