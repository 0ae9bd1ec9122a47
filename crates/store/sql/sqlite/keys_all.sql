SELECT name, hash, role, created_at, revoked_at FROM api_keys ORDER BY name
