INSERT INTO events (kind, audit) VALUES (?1, ?2)
