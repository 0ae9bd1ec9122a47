UPDATE allow_list SET team = ?1 WHERE team = ''
