UPDATE api_keys SET team = ?1 WHERE team = ''
