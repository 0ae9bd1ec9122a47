SELECT number, at, by, action, device, command, detail, before, after, team
FROM audit
WHERE team = ?3 AND number < ?1
ORDER BY number DESC
LIMIT ?2
