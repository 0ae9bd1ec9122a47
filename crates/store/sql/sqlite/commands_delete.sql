DELETE FROM commands WHERE device = ?1
