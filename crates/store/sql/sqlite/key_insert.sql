INSERT INTO api_keys (name, hash, role, created_at, revoked_at) VALUES (?1, ?2, ?3, ?4, ?5)
