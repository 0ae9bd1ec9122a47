DELETE FROM commands WHERE device = ?1 AND id = ?2
