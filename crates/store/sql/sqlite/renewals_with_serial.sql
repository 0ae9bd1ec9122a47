-- Open renewals of a certificate, from it or to it, and what they have asked for that the device may not have yet: the command
-- of a new key or of a certificate, and, of one that still counts, the certificate that is to take over and is not stored.
SELECT r.rule_id,
       CASE WHEN r.step IN ('key', 'certificate') AND (n.serial = ?2 OR o.state IN ('issued', 'written', 'used', 'expired'))
            THEN r.command END,
       CASE WHEN n.state = 'issued' AND o.state IN ('issued', 'written', 'used', 'expired') THEN n.serial END
FROM renewals AS r
JOIN lives AS o ON o.spki_sha256 = r.old
LEFT JOIN lives AS n ON n.spki_sha256 = r.new
WHERE r.device = ?1 AND r.ended_at IS NULL AND (o.serial = ?2 OR n.serial = ?2)
