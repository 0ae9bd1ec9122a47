SELECT id, name, topic_prefix, created_at FROM teams WHERE id > ?1 ORDER BY id LIMIT ?2
