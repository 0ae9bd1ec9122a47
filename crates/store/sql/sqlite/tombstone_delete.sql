DELETE FROM tombstones WHERE device = ?1
