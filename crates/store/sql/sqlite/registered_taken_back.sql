-- The one behind so many.
SELECT 1 FROM revoked WHERE subject = ?1 AND team = ?2 AND issued = 0 LIMIT 1 OFFSET ?3
