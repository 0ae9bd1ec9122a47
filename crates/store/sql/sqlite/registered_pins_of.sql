SELECT der_sha256, team FROM registered_certificates WHERE subject = ?1 ORDER BY number
