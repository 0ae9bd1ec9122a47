SELECT id FROM rules WHERE team = ?1 AND name = ?2
