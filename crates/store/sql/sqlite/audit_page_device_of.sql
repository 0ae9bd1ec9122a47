SELECT number, at, by, action, device, command, detail, before, after, team
FROM audit
WHERE device = ?3 AND number < ?1 AND (team = ?4 OR (?5 AND team IS NULL))
ORDER BY number DESC
LIMIT ?2
