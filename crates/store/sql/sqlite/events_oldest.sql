SELECT number FROM events ORDER BY number LIMIT 1
