//! 1 to 4: keys, verbs, the file, findings. 5 to 9: mosquitto's files, the broker, renewal, restarts, no plaintext.

mod broker;
mod config;
