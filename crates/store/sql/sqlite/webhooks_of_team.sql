SELECT count(*) FROM webhooks WHERE team = ?1
