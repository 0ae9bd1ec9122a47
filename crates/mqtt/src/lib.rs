//! The embedded MQTT broker and client driver
