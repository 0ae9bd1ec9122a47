//! The device's half of the conversation: one provisioning session (spec/device-protocol §7, §8).
