//! The provisioning service: owner API, device API, use cases.
