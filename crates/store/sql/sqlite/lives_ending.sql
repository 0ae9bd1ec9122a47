SELECT l.spki_sha256, l.device, l.team, l.serial, l.csr, l.certificate, l.sec_tag, l.rule_id, l.not_before, l.not_after,
       l.issued_at, l.written_at, l.used_at, l.last_used_at, l.state, l.ended_at, l.alarm_days
FROM lives AS l
WHERE l.state IN ('issued', 'written', 'used') AND (l.not_after, l.spki_sha256) > (?1, ?2) AND l.not_after <= ?3
ORDER BY l.not_after, l.spki_sha256
LIMIT ?4
