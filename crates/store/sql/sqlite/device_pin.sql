UPDATE devices SET candidates = ?2, pin = ?3 WHERE id = ?1
