SELECT r.old, r.device, r.team, r.rule_id, r.sec_tag, r.in_place, r.started_at, r.step, r.step_at, r.command, r.new,
       r.attempts, r.retry_at, r.failing_since, r.reason, r.alarmed_at, r.ended_at
FROM renewals AS r
WHERE r.device = ?1 AND r.ended_at IS NULL
ORDER BY r.started_at, r.old
