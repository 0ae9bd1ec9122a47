SELECT id, name, topic_prefix, created_at FROM teams WHERE topic_prefix = ?1
