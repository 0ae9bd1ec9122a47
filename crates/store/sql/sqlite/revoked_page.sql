SELECT number, mark, serial, revoked_at, ends_at FROM revoked WHERE number > ?1 AND ends_at >= ?2 ORDER BY number LIMIT ?3
