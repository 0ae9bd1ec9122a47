SELECT der_sha256, team FROM registered_certificates WHERE der_sha256 > ?1 AND ends_at >= ?2 ORDER BY der_sha256 LIMIT ?3
