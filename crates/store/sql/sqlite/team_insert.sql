INSERT INTO teams (id, name, topic_prefix, created_at) VALUES (?1, ?2, ?3, ?4)
