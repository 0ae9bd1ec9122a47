SELECT 1 FROM audit WHERE team = ?1 AND action = 'team-deleted' ORDER BY number DESC LIMIT 1
