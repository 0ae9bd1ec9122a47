SELECT device, kid, added_at FROM allow_list WHERE device > ?1 ORDER BY device LIMIT ?2
