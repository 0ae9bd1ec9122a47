//! Its chapters: the properties, the listener's file, the clients, the certificates.

mod certificates;
mod clients;
mod listener;
mod properties;
