INSERT OR IGNORE INTO revoked (mark, subject, team, serial, issued, revoked_at, ends_at)
SELECT der_sha256, subject, team, serial, 0, ?3, ends_at FROM registered_certificates WHERE subject = ?1 AND team = ?2
