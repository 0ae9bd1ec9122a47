INSERT INTO webhooks (id, team, url, kinds, secret, created_at, created_by, paused, cursor, attempts)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)
