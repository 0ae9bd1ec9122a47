SELECT number, at, by, action, device, command, detail, before, after, hash, team
FROM audit
WHERE number > ?1 AND number <= ?2
ORDER BY number
LIMIT ?3
