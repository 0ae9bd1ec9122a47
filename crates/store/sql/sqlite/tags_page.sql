SELECT tag, description, created_at FROM tags WHERE team = ?1 AND tag > ?2 ORDER BY tag LIMIT ?3
