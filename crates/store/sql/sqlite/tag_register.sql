INSERT INTO tags (team, tag, description, created_at) VALUES (?1, ?2, ?3, ?4)
