-- Whether a team was deleted. A store without any team was never adopted by a service.
SELECT EXISTS (SELECT 1 FROM teams) AND NOT EXISTS (SELECT 1 FROM teams WHERE id = ?1)
