SELECT mark FROM revoked WHERE subject = ?1
