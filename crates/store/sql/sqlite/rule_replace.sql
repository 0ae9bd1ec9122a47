UPDATE rules SET name = ?3, state = ?4, content = ?5, secrets = ?6 WHERE id = ?1 AND team = ?2
