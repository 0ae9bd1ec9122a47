-- What changed may decide which rules are for the device.
UPDATE devices
SET version = ?2, candidates = ?3, pin = ?4, device_type = ?5, firmware = ?6, owner = ?7, tags = ?8, blocked = ?9,
    claimed_at = ?10, last_seen_at = ?11, finished_at = ?12, next_sequence = ?13, tier = ?14,
    rules_seen = 0
WHERE id = ?1
