INSERT INTO allow_list (device, kid, added_at) VALUES (?1, ?2, ?3)
ON CONFLICT (device) DO UPDATE SET kid = excluded.kid, added_at = excluded.added_at
