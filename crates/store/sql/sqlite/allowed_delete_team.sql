DELETE FROM allow_list WHERE team = ?1
