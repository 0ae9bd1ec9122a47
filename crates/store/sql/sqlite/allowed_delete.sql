DELETE FROM allow_list WHERE device = ?1
