SELECT number, mark, serial, revoked_at, ends_at FROM revoked WHERE issued = 1 AND team = ?1
