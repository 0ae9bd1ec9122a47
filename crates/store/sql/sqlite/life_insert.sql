INSERT OR IGNORE INTO lives (spki_sha256, device, team, serial, csr, certificate, sec_tag, rule_id, not_before, not_after,
                             issued_at, written_at, used_at, last_used_at, state, ended_at, alarm_days)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
