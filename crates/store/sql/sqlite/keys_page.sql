SELECT team, name, hash, role, tags, created_at, expires_at, revoked_at
FROM api_keys
WHERE team = ?1 AND name > ?2
ORDER BY name
LIMIT ?3
