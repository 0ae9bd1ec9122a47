DELETE FROM registered WHERE subject = ?1
