-- Another key of the team that can manage keys at this moment.
SELECT 1 FROM api_keys
WHERE team = ?1 AND name <> ?2 AND role = 'owner' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?3)
LIMIT 1
