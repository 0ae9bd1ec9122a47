//! What the broker counts: one relaxed atomic each, read together as a [`Snapshot`].

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Running counts since the broker started.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub(crate) $name: Count),+ }

        /// The counts at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Snapshot { $($(#[$doc])* pub $name: u64),+ }

        impl Counters {
            /// Reads all counts.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.get()),+ }
            }
        }
    };
}

counters! {
    /// MQTT connections accepted (CONNACK with success).
    accepted,
    /// Connections refused during the TLS handshake: no certificate, foreign issuer, revoked, plaintext, too slow.
    refused_tls,
    /// Connections refused after the handshake: unusable identity, malformed CONNECT, no CONNECT in time, session limit.
    refused_connect,
    /// TCP connections closed at once because a connection or handshake limit was reached.
    refused_busy,
    /// Messages refused by the topic rules.
    denied_publish,
    /// Subscriptions refused by the topic rules.
    denied_subscribe,
    /// Messages accepted from clients, wills included.
    published,
    /// Messages sent to clients (one per receiver; repeats after a reconnect count again).
    delivered,
    /// Deliveries dropped: queue full, or larger than the client takes.
    dropped,
    /// Retain requests refused because a bound of the retained store was reached.
    retained_refused,
    /// Sessions in memory now, connected or not.
    sessions,
    /// Connections in the MQTT state connected now.
    connected,
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
