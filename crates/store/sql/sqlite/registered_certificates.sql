SELECT serial, issuer, certificate, registered_at, ends_at FROM registered_certificates WHERE subject = ?1 ORDER BY number
