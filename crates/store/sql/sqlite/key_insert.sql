INSERT INTO api_keys (team, name, hash, role, tags, created_at, expires_at, revoked_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
