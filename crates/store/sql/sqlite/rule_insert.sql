INSERT INTO rules (id, team, name, state, content, secrets) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
