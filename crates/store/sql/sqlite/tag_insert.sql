INSERT INTO device_tags (team, tag, tier, blocked, device) VALUES (?1, ?2, ?3, ?4, ?5)
