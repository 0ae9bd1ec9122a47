SELECT blocked FROM devices WHERE id = ?1
