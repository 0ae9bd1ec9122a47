SELECT owner FROM devices WHERE id = ?1
