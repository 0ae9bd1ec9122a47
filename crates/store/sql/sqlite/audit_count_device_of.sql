SELECT count(*) FROM audit WHERE device = ?1 AND (team = ?2 OR (?3 AND team IS NULL))
