INSERT INTO audit (at, by, action, device, command, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
