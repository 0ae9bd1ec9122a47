SELECT days FROM certificate_alarms WHERE der_sha256 = ?1
