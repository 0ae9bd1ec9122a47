UPDATE lives SET state = 'superseded', ended_at = ?2
WHERE spki_sha256 = ?1 AND state IN ('issued', 'written', 'used', 'expired')
