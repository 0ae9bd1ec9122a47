INSERT INTO rule_generations (team, generation) VALUES (?1, 1) ON CONFLICT (team) DO UPDATE SET generation = generation + 1
