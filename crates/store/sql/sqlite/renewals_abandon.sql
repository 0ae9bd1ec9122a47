UPDATE renewals SET step = 'abandoned', step_at = ?3, ended_at = ?3, command = NULL
WHERE device = ?1 AND (?2 IS NULL OR old = ?2 OR new = ?2) AND ended_at IS NULL
