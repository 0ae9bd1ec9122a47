UPDATE bulk_operations
SET status = ?2, done = ?3, failed = ?4, finished_at = ?5, errors = ?6,
    body = CASE WHEN ?2 IN ('SUCCEEDED', 'FAILED') THEN NULL ELSE body END
WHERE id = ?1
