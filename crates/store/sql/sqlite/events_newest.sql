SELECT number FROM events ORDER BY number DESC LIMIT 1
