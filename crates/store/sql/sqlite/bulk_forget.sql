-- The oldest finished ones above the limit.
DELETE FROM bulk_operations
WHERE id IN (SELECT id FROM bulk_operations WHERE team = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2) AND body IS NULL
