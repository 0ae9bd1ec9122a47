DELETE FROM tags WHERE team = ?1 AND tag = ?2
