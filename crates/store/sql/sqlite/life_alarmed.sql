UPDATE lives SET alarm_days = ?2 WHERE spki_sha256 = ?1
