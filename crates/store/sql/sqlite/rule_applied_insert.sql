INSERT OR IGNORE INTO rules_applied (device, rule) VALUES (?1, ?2)
