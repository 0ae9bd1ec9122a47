-- A forecast walks along registered certificates by their end, too.
CREATE INDEX registered_certificates_by_end ON registered_certificates (ends_at, number);
CREATE INDEX registered_certificates_by_team_and_end ON registered_certificates (team, ends_at, number);
