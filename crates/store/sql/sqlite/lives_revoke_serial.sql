UPDATE lives SET state = 'revoked', ended_at = ?3
WHERE device = ?1 AND serial = ?2 AND state IN ('issued', 'written', 'used', 'expired')
