SELECT secret FROM webhooks WHERE id = ?1
