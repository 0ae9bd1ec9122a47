SELECT id, kind, team, by, role, scope, status, total, done, failed, created_at, finished_at, body, errors, secret
FROM bulk_operations
WHERE id = ?1
