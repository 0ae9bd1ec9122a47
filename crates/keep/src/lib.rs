//! Files that must not be lost, seen, or half-written
