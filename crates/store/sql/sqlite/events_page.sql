SELECT e.number, e.kind, e.at, e.team, e.device, e.command, e.data, e.audit,
       a.at, a.team, a.device, a.command, a.action, a.by, a.detail, a.before, a.after
FROM events AS e LEFT JOIN audit AS a ON a.number = e.audit
WHERE e.number > ?1
ORDER BY e.number
LIMIT ?2
