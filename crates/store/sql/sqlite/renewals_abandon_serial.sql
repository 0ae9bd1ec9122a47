-- The command stays on record: what a device still answers to it brings no certificate.
UPDATE renewals SET step = 'abandoned', step_at = ?3, ended_at = ?3
WHERE device = ?1 AND ended_at IS NULL
  AND EXISTS (SELECT 1 FROM lives AS l WHERE l.spki_sha256 IN (renewals.old, renewals.new) AND l.serial = ?2)
