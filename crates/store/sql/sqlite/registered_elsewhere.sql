SELECT count(*) FROM registered_certificates WHERE (der_sha256 = ?1 OR spki_sha256 = ?2) AND (subject <> ?3 OR team <> ?4)
