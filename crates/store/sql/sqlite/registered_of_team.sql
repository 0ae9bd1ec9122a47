SELECT id, team, name, sub_type, tags, firmware_types, registered_at FROM registered WHERE subject = ?1 AND team = ?2
