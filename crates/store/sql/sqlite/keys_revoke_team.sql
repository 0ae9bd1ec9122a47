UPDATE api_keys SET revoked_at = ?2 WHERE team = ?1 AND revoked_at IS NULL
