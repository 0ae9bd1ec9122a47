INSERT INTO renewals (old, device, team, rule_id, sec_tag, in_place, started_at, step, step_at, command, new, attempts,
                      retry_at, failing_since, reason, alarmed_at, ended_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
ON CONFLICT (old) DO UPDATE
SET team = excluded.team,
    rule_id = excluded.rule_id,
    sec_tag = excluded.sec_tag,
    in_place = excluded.in_place,
    started_at = excluded.started_at,
    step = excluded.step,
    step_at = excluded.step_at,
    command = excluded.command,
    new = excluded.new,
    attempts = excluded.attempts,
    retry_at = excluded.retry_at,
    failing_since = excluded.failing_since,
    reason = excluded.reason,
    alarmed_at = excluded.alarmed_at,
    ended_at = excluded.ended_at
-- One that is over stays so, unless another one begins, be it by a clock that went back.
WHERE renewals.ended_at IS NULL OR excluded.started_at <> renewals.started_at
