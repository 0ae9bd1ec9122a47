SELECT team FROM registered WHERE subject = ?1
