INSERT INTO issued (spki_sha256, serial, certificate, command, device, issued_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
