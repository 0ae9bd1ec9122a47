-- What a renewal queued at once, of which the device has been given nothing from this command on.
SELECT c.id
FROM commands AS asked
JOIN commands AS c ON c.device = asked.device AND c.created_at = asked.created_at
WHERE asked.device = ?1 AND asked.id = ?2 AND asked.status = 'PENDING' AND c.status = 'PENDING' AND c.rule_id = ?3
ORDER BY c.position_major, c.position_minor
