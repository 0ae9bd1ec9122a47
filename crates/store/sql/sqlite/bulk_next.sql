SELECT team, id
FROM bulk_operations
WHERE status IN ('PENDING', 'IN_PROGRESS') AND team > ?1
ORDER BY team, id
LIMIT 1
