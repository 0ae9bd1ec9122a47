INSERT INTO devices (id, version, candidates, pin, device_type, firmware, owner, tags, blocked, claimed_at,
                     last_seen_at, finished_at, next_sequence, tier)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
