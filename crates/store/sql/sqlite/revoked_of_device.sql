SELECT mark, revoked_at FROM revoked WHERE subject = ?1 AND issued = 1
