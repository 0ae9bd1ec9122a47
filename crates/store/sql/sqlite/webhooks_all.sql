SELECT id, team, url, kinds, created_at, created_by, paused, cursor, attempts, failing_since, parked_at, last_error, last_delivered_at
FROM webhooks ORDER BY id
