UPDATE registered SET name = ?2 WHERE subject = ?1
