SELECT generation FROM rule_generations WHERE team = ?1
