UPDATE lives
SET written_at = coalesce(written_at, ?2), state = CASE state WHEN 'issued' THEN 'written' ELSE state END
WHERE spki_sha256 = ?1
