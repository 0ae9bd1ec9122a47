INSERT INTO tombstones (device, version, candidates, pin, unclaimed_at) VALUES (?1, ?2, ?3, ?4, ?5)
