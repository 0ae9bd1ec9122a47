SELECT id, sequence, position_major, position_minor, rule_id, description, request, secrets, status, created_at,
       updated_at, requested_at, responded_at, covered_at, response,
       on_error, tries, parked
FROM commands
WHERE device = ?1
ORDER BY position_major, position_minor
