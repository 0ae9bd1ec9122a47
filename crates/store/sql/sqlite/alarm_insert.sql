INSERT INTO alarms (number, team) VALUES (?1, ?2)
