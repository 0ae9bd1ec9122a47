DELETE FROM events WHERE number < ?1
