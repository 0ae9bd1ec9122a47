//! The device session for C.
