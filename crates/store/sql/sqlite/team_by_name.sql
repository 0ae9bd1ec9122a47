SELECT id, name, topic_prefix, created_at FROM teams WHERE name = ?1
