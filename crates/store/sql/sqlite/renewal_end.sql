UPDATE renewals SET step = ?2, step_at = ?3, ended_at = ?3, command = NULL WHERE old = ?1 AND ended_at IS NULL
