-- Newest first within a device, so that the first one under a tag is the one that is still there.
SELECT i.spki_sha256, i.serial, i.certificate, i.device, i.command, i.issued_at, c.request, c.rule_id, d.owner, d.claimed_at
FROM issued AS i
LEFT JOIN commands AS c ON c.device = i.device AND c.id = i.command
LEFT JOIN devices AS d ON d.id = i.device
WHERE NOT EXISTS (SELECT 1 FROM lives AS l WHERE l.spki_sha256 = i.spki_sha256)
ORDER BY i.device, i.number DESC
