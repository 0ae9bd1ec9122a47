UPDATE devices SET rules_seen = ?2 WHERE id = ?1
