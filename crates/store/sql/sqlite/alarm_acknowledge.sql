UPDATE alarms SET acknowledged_at = ?2, acknowledged_by = ?3 WHERE number = ?1 AND acknowledged_at IS NULL
