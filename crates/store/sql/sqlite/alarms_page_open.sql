SELECT a.number, a.at, a.by, a.action, a.device, a.command, a.detail, a.before, a.after, a.team, l.acknowledged_at, l.acknowledged_by
FROM alarms AS l JOIN audit AS a ON a.number = l.number
WHERE l.acknowledged_at IS NULL AND l.team = ?1 AND l.number < ?2
ORDER BY l.number DESC
LIMIT ?3
