INSERT INTO registered (subject, id, team, sub_type, tags, firmware_types, registered_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (subject, team) DO UPDATE
SET sub_type = excluded.sub_type, tags = excluded.tags, firmware_types = excluded.firmware_types
