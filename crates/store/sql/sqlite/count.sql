SELECT n FROM counts WHERE name = ?1
