UPDATE lives SET state = 'expired' WHERE spki_sha256 = ?1 AND state IN ('issued', 'written', 'used')
