SELECT serial, issuer, certificate, registered_at, ends_at FROM registered_certificates WHERE subject = ?1 AND team = ?2 ORDER BY number
