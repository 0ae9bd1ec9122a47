SELECT total, done, failed, errors FROM bulk_operations WHERE id = ?1 AND status IN ('PENDING', 'IN_PROGRESS')
