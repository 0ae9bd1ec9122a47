SELECT count(*) FROM revoked WHERE subject = ?1 AND team IN (?2, '') AND serial = ?3
