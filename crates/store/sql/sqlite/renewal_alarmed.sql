UPDATE renewals SET alarmed_at = ?2 WHERE old = ?1 AND ended_at IS NULL
