SELECT count(*) FROM lives WHERE device = ?1 AND team IN (?2, '') AND serial = ?3
