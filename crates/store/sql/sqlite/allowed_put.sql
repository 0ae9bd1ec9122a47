INSERT INTO allow_list (team, device, kid, added_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (team, device) DO UPDATE SET kid = excluded.kid, added_at = excluded.added_at
