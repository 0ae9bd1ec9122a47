//! Drives a device: HTTPS transport, agent, MQTT link bound to sec tags.
