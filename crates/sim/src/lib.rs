//! The town: devices and service on a virtual clock
