-- An open command that comes without its secrets keeps what is sealed, unless its request became another one.
INSERT INTO commands (device, id, sequence, position_major, position_minor, rule_id, description, request, secrets,
                      status, created_at, updated_at, requested_at, responded_at, covered_at, response,
                      on_error, tries, parked)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
ON CONFLICT (device, id) DO UPDATE
SET sequence = excluded.sequence,
    position_major = excluded.position_major,
    position_minor = excluded.position_minor,
    rule_id = excluded.rule_id,
    description = excluded.description,
    request = excluded.request,
    secrets = CASE
        WHEN excluded.status IN ('SUCCEEDED', 'FAILED') THEN NULL
        WHEN excluded.secrets IS NOT NULL THEN excluded.secrets
        WHEN excluded.request = request THEN secrets
    END,
    status = excluded.status,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at,
    requested_at = excluded.requested_at,
    responded_at = excluded.responded_at,
    covered_at = excluded.covered_at,
    response = excluded.response,
    on_error = excluded.on_error,
    tries = excluded.tries,
    parked = excluded.parked
