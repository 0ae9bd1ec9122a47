-- Only where it is still as it was read: a change of the webhook makes it healthy, and that must last.
UPDATE webhooks SET attempts = ?2, failing_since = ?3, parked_at = ?4, last_error = ?5
WHERE id = ?1 AND attempts = ?6 AND failing_since IS ?7
