SELECT count(*) FROM audit WHERE device = ?1
