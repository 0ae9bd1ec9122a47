SELECT number, mark, serial, revoked_at FROM revoked WHERE issued = 1 AND team = ?1 AND ends_at >= ?2 ORDER BY number
