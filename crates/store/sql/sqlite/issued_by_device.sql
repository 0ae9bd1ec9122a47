SELECT spki_sha256, serial, certificate, command, device, issued_at FROM issued WHERE device = ?1 ORDER BY number
