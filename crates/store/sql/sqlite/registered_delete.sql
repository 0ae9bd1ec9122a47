DELETE FROM registered WHERE subject = ?1 AND team = ?2
