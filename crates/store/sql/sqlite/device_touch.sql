-- Whoever decides about the device at this moment has to decide again.
UPDATE devices SET version = version + 1 WHERE id = ?1
