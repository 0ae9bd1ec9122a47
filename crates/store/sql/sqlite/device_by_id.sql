SELECT id, version, candidates, pin, device_type, firmware, owner, tags, blocked, claimed_at, last_seen_at,
       finished_at, next_sequence, tier
FROM devices
WHERE id = ?1
