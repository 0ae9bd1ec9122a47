INSERT INTO registered_certificates (der_sha256, spki_sha256, subject, team, serial, issuer, certificate, registered_at, ends_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
