SELECT generation FROM rule_generations WHERE team = (SELECT owner FROM devices WHERE id = ?1)
