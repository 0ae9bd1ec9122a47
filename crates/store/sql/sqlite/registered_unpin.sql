DELETE FROM registered_certificates WHERE subject = ?1
