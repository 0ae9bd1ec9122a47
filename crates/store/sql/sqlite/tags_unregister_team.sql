DELETE FROM tags WHERE team = ?1
