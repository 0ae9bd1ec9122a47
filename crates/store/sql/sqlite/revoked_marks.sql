SELECT count(*) FROM revoked WHERE mark IN (?1, ?2)
