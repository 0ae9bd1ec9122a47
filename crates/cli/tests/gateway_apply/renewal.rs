//! Certificates that change while the broker runs.
