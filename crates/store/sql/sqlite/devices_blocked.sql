SELECT id FROM devices WHERE blocked = 1 AND id > ?1 ORDER BY id LIMIT ?2
