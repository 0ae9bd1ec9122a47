UPDATE lives SET state = 'revoked', ended_at = ?3
WHERE device = ?1 AND (?2 IS NULL OR spki_sha256 = ?2) AND state IN ('issued', 'written', 'used', 'expired')
