INSERT INTO device_tags (tag, device, blocked) VALUES (?1, ?2, ?3)
