DELETE FROM rules WHERE id = ?1 AND team = ?2
