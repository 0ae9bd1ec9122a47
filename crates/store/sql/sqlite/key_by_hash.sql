SELECT team, name, hash, role, tags, created_at, expires_at, revoked_at FROM api_keys WHERE hash = ?1 AND revoked_at IS NULL
