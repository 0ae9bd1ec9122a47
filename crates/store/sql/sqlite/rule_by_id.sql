SELECT number, id, content, secrets FROM rules WHERE id = ?1 AND team = ?2
