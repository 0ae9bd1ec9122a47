SELECT number, id, content, secrets FROM rules WHERE team = ?1 AND number > ?2 ORDER BY number LIMIT ?3
