SELECT spki_sha256, serial, certificate, command, device, issued_at FROM issued WHERE spki_sha256 = ?1
