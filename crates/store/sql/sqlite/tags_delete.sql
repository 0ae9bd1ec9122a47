DELETE FROM device_tags WHERE device = ?1
