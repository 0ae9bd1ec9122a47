SELECT team, device, kid, added_at FROM allow_list WHERE team = ?1 AND device = ?2
