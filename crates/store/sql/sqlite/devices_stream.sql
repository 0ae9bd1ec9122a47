-- One of the streams that a list is merged from.
SELECT device
FROM device_tags
WHERE team = ?1 AND tag = ?2 AND tier = ?3 AND blocked = ?4 AND device >= ?5 AND device <= ?6
ORDER BY device
LIMIT ?7
