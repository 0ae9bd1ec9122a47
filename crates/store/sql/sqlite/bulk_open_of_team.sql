SELECT count(*) FROM bulk_operations WHERE team = ?1 AND status IN ('PENDING', 'IN_PROGRESS')
