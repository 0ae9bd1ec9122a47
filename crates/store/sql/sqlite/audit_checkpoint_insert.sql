INSERT OR IGNORE INTO audit_checkpoints (number, hash, at, signature) VALUES (?1, ?2, ?3, ?4)
