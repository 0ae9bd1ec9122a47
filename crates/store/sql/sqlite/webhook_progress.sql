UPDATE webhooks
SET cursor = max(cursor, ?2), attempts = ?3, failing_since = ?4, parked_at = ?5, last_error = ?6,
    last_delivered_at = coalesce(?7, last_delivered_at)
WHERE id = ?1
