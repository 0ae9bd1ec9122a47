SELECT version FROM devices WHERE id = ?1
