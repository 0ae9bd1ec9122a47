DELETE FROM registered_certificates WHERE subject = ?1 AND team = ?2
