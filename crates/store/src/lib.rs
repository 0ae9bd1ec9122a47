//! What the service remembers: one contract, SQLite behind it
