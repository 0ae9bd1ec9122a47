SELECT candidates, pin FROM devices WHERE id = ?1
