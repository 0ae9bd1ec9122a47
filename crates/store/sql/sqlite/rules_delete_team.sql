DELETE FROM rules WHERE team = ?1
