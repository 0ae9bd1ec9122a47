SELECT r.id, c.team, c.serial, c.der_sha256, c.ends_at, r.tags, c.number
FROM registered_certificates AS c CROSS JOIN registered AS r ON r.subject = c.subject AND r.team = c.team
WHERE c.team = ?5 AND (c.ends_at, c.number) > (?1, ?2) AND c.ends_at <= ?3
ORDER BY c.ends_at, c.number
LIMIT ?4
