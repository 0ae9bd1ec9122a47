-- The columns of device_by_id, and behind them what it has seen of its team's rules, and what there is to see.
SELECT id, version, candidates, pin, device_type, firmware, owner, tags, blocked, claimed_at, last_seen_at,
       finished_at, next_sequence, tier, rules_seen, (SELECT generation FROM rule_generations WHERE team = owner)
FROM devices
WHERE id = ?1
