UPDATE webhooks
SET url = ?2, kinds = ?3, paused = ?4, secret = coalesce(?5, secret), attempts = 0, failing_since = NULL, parked_at = NULL, last_error = NULL
WHERE id = ?1
