SELECT d.id, d.version, d.candidates, d.pin, d.device_type, d.firmware, d.owner, d.tags, d.blocked, d.claimed_at,
       d.last_seen_at, d.finished_at, d.next_sequence
FROM device_tags AS t CROSS JOIN devices AS d ON d.id = t.device
WHERE t.tag = ?1 AND t.device > ?2
ORDER BY t.device
LIMIT ?3
