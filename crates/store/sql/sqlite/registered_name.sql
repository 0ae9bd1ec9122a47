UPDATE registered SET name = ?3 WHERE subject = ?1 AND team = ?2
