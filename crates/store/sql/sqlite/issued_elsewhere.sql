SELECT count(*) FROM issued WHERE spki_sha256 = ?1 AND device <> ?2
