INSERT INTO events (kind, at, team, device, command, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
