INSERT INTO audit (number, at, by, action, device, command, detail, before, after, hash, team)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
