INSERT INTO bulk_operations (id, kind, team, by, role, scope, status, total, done, failed, created_at, body, errors, secret)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'PENDING', ?7, 0, 0, ?8, ?9, '[]', ?10)
