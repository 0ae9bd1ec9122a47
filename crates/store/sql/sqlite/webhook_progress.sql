UPDATE webhooks SET cursor = max(cursor, ?2), last_delivered_at = coalesce(?3, last_delivered_at)
WHERE id = ?1
