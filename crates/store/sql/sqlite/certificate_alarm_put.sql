INSERT INTO certificate_alarms (der_sha256, days) VALUES (?1, ?2)
ON CONFLICT (der_sha256) DO UPDATE SET days = excluded.days
