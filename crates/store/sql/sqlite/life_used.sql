-- A connection cannot give back what was revoked or superseded.
UPDATE lives
SET used_at = coalesce(used_at, ?2),
    last_used_at = max(coalesce(last_used_at, ?2), ?2),
    state = CASE WHEN state IN ('issued', 'written') THEN 'used' ELSE state END
WHERE spki_sha256 = ?1
