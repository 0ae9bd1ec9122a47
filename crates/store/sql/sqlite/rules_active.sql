SELECT number, id, content, secrets FROM rules WHERE team = ?1 AND state = 'ACTIVE' ORDER BY number
