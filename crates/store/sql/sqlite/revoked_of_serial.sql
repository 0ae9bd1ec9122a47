SELECT count(*) FROM revoked WHERE subject = ?1 AND serial = ?2
