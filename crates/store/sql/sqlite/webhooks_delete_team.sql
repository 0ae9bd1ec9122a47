DELETE FROM webhooks WHERE team = ?1
