SELECT team, device, kid, added_at FROM allow_list WHERE team = ?1 AND device > ?2 ORDER BY device LIMIT ?3
