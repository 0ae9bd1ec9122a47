SELECT l.spki_sha256, l.device, l.team, l.serial, l.csr, l.certificate, l.sec_tag, l.rule_id, l.not_before, l.not_after,
       l.issued_at, l.written_at, l.used_at, l.last_used_at, l.state, l.ended_at, l.alarm_days
FROM lives AS l
WHERE l.device = ?1
ORDER BY l.issued_at, l.spki_sha256
