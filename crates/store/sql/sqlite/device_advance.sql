-- The compare-and-swap. Neither the sequence nor the times ever go back.
UPDATE devices
SET version = version + 1,
    next_sequence = max(next_sequence, ?3),
    last_seen_at = coalesce(max(last_seen_at, ?4), last_seen_at, ?4),
    finished_at = coalesce(max(finished_at, ?5), finished_at, ?5)
WHERE id = ?1 AND version = ?2
