DELETE FROM devices WHERE id = ?1
