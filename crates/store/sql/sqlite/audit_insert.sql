INSERT INTO audit (number, at, by, action, device, command, detail, hash, before, after, team)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
