SELECT tag, description, created_at FROM tags WHERE team = ?1 AND tag = ?2
