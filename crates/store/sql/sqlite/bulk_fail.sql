-- What is damaged beside them and asked for no more is made readable, so that whoever sent it can be told.
UPDATE bulk_operations
SET status = 'FAILED', role = 'viewer', scope = '[]', total = ?2, done = ?2, failed = ?3, created_at = max(created_at, 0),
    finished_at = ?4, errors = ?5, body = NULL
WHERE id = ?1
