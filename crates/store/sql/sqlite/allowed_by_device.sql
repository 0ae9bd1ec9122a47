SELECT device, kid, added_at FROM allow_list WHERE device = ?1
