DELETE FROM rules_applied WHERE device = ?1
