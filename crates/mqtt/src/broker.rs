//! The embedded broker: listeners, each plaintext, TLS or mutual TLS, in front of one [`Router`].
//!
//! ```text
//!   accept loops ─► one task per connection: handshake (deadline) → CONNECT (same deadline) → Link ◄─► Router
//!        │                                                                          ▲
//!        └── limits: connections, handshakes            set_trust, shutdown ────────┘ every task hears of both
//! ```
//!
//! The accept loops never wait for a client. A change of trust holds for new handshakes at once and is checked against
//! every live connection, which is closed if its certificate would be refused. Sessions of one listener's anonymous
//! clients are out of reach for those of another, and for everybody with a certificate, and the other way round.

mod accept;
mod config;
mod doors;
mod socket;

pub use config::{
    Bound, BrokerConfig, BrokerError, BrokerLimits, HANDSHAKE_DEADLINE, Level, Listener, Security,
};

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls_pki_types::{CertificateDer, UnixTime};
use sectag_pki::topics::Rules;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use doors::Doors;

use crate::counters::{Counters, Snapshot};
use crate::identity::Identity;
use crate::link::Kick;
use crate::router::Router;
use crate::trust::Trust;

/// How long a client may take no bytes while some wait for it, before the connection is given up.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// How long [`Broker::shutdown`] waits for connections to say goodbye.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);

/// A running broker. Dropping it ends it without goodbye; [`Broker::shutdown`] is the orderly way.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    bound: Vec<Bound>,
    first: SocketAddr,
    loops: JoinSet<()>,
}

impl Broker {
    /// Binds all addresses or none, and starts accepting. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Listen`] when an address is taken, foreign or privileged; [`BrokerError::Nowhere`].
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        let mut sockets = Vec::new();
        let mut bound = Vec::new();
        for (listener, asked) in config.listeners.iter().enumerate() {
            if asked.addresses.is_empty() {
                return Err(BrokerError::Nowhere);
            }
            for &address in &asked.addresses {
                let failed = |source| BrokerError::Listen { address, source };
                let socket = TcpListener::bind(address).await.map_err(failed)?;
                let address = socket.local_addr().map_err(failed)?;
                sockets.push((socket, listener));
                bound.push(Bound { listener, address });
            }
        }
        let first = bound.first().ok_or(BrokerError::Nowhere)?.address;
        let counters = Arc::new(Counters::default());
        let limits = config.limits;
        let ports = config.listeners.into_iter().enumerate();
        let shared = Arc::new(Shared {
            limits,
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            ports: ports
                .map(|(at, listener)| Port::new(at, listener))
                .collect(),
            changes: watch::channel(Change::None).0,
            broken: watch::Sender::new(false),
            open: watch::Sender::new(!config.closed),
            inner: Mutex::new(Inner {
                router: Router::new(limits.router, counters.clone()),
                doors: Doors::default(),
            }),
            counters,
            started: Instant::now(),
        });
        let mut loops = JoinSet::new();
        loops.spawn(watched(shared.clone(), accept::sweep(shared.clone())));
        for (socket, listener) in sockets {
            let door = accept::run(socket, listener, shared.clone());
            loops.spawn(watched(shared.clone(), door));
        }
        for Bound { listener, address } in &bound {
            let level = shared.ports[*listener].level();
            tracing::info!(%address, %level, "MQTT broker listens");
        }
        Ok(Self {
            shared,
            bound,
            first,
            loops,
        })
    }

    /// Takes clients in, when it was started [closed](BrokerConfig::closed).
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// The first address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.first
    }

    /// All addresses that were bound, in the order of [`BrokerConfig::listeners`].
    pub fn local_addrs(&self) -> &[Bound] {
        &self.bound
    }

    /// The level of security of a listener at this moment; `None` when there is no such listener.
    pub fn level(&self, listener: usize) -> Option<Level> {
        self.shared.ports.get(listener).map(Port::level)
    }

    /// What was counted until now.
    pub fn counters(&self) -> Snapshot {
        self.shared.counters.snapshot()
    }

    /// Replaces certificate, authorities and revocation lists of a listener for new connections, and closes live ones whose
    /// certificate is trusted no more. False, and nothing changes, when the listener has no TLS: plaintext stays plaintext,
    /// and TLS stays TLS.
    pub fn set_trust(&self, listener: usize, trust: Arc<Trust>) -> bool {
        let port = self.shared.ports.get(listener);
        let Some(current) = port.and_then(|port| port.trust.as_ref()) else {
            return false;
        };
        current.store(trust);
        self.shared.changes.send_modify(|change| {
            if let Change::None | Change::Trust(_) = change {
                let round = match change {
                    Change::Trust(round) => *round + 1,
                    _ => 1,
                };
                *change = Change::Trust(round);
            }
        });
        true
    }

    /// Asks the gates about every live session again, and closes those that are let in no more or on other terms.
    pub fn judge_again(&self) {
        let doors = self.shared.with(|_, doors| doors.guests());
        doors.iter().for_each(|door| door.judge());
    }

    /// As [`Broker::judge_again`], for the sessions whose certificates have one of these CNs. What it costs does not depend on
    /// how many others there are.
    pub fn judge_again_named<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let doors = self.shared.with(|_, doors| doors.named(names));
        doors.iter().for_each(|door| door.judge());
    }

    /// Closes the sessions of clients whose certificates have ended at this time. The broker does so each second by itself.
    pub fn end_expired(&self, now: UnixTime) {
        self.shared.end_expired(now);
    }

    /// Completes when a loop of the broker has panicked: from then on a listener takes nobody in, or expired sessions stay.
    /// Never otherwise.
    pub async fn failed(&self) {
        let mut broken = self.shared.broken.subscribe();
        // The sender lives as long as this broker.
        let _ = broken.wait_for(|broken| *broken).await;
    }

    /// Stops accepting, tells MQTT 5 clients that the server shuts down, closes everything. Wills are not published.
    pub async fn shutdown(mut self) {
        self.shared.changes.send_replace(Change::Stop);
        let all = async { while self.loops.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE + Duration::from_secs(1), all).await;
        // What did not end in time is aborted when the loops are dropped.
    }
}

/// One of the broker's loops; a panic in it is told ([`Broker::failed`]).
async fn watched(shared: Arc<Shared>, work: impl Future<Output = ()>) {
    struct Watched(Arc<Shared>);
    impl Drop for Watched {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!("a loop of the MQTT broker panicked");
                self.0.broken.send_replace(true);
            }
        }
    }
    let _watched = Watched(shared);
    work.await;
}

/// What every connection has to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    /// Trust was replaced for the n-th time.
    Trust(u64),
    Stop,
}

/// What the tasks of one broker share.
struct Shared {
    limits: BrokerLimits,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    /// In the order of the configuration.
    ports: Vec<Port>,
    changes: watch::Sender<Change>,
    /// Nobody is taken in before.
    open: watch::Sender<bool>,
    /// A loop has panicked.
    broken: watch::Sender<bool>,
    inner: Mutex<Inner>,
    counters: Arc<Counters>,
    started: Instant,
}

/// One listener at run time.
struct Port {
    /// `None`: plaintext.
    trust: Option<ArcSwap<Trust>>,
    rules: Arc<Rules>,
    /// Who everybody is who was asked for no certificate.
    anonymous: Arc<Identity>,
}

struct Inner {
    router: Router,
    doors: Doors,
}

impl Port {
    fn new(at: usize, listener: Listener) -> Self {
        Self {
            trust: match listener.security {
                Security::Plain => None,
                Security::Tls(trust) => Some(ArcSwap::new(trust)),
            },
            anonymous: Arc::new(Identity::anonymous(at + 1, listener.rules.clone())),
            rules: listener.rules,
        }
    }

    fn level(&self) -> Level {
        self.trust
            .as_ref()
            .map_or(Level::Plain, |trust| trust.load().level())
    }

    /// Is a live client let in at this moment as well? Its gate is asked at its door.
    fn still_accepts(&self, client: &socket::Client) -> bool {
        let (Some(trust), now) = (&self.trust, UnixTime::now()) else {
            return true;
        };
        let trust = trust.load();
        let quick = client.leaf.as_ref();
        let quick = quick.and_then(|leaf| trust.still_accepts(&client.anchors, leaf, now));
        quick.unwrap_or_else(|| trust.accepts(&client.chain, now).is_ok())
    }

    /// Would a client with this chain be let in at this moment?
    fn accepts(&self, chain: &[CertificateDer<'static>]) -> Result<(), rustls::Error> {
        match &self.trust {
            None => Ok(()),
            Some(trust) => trust.load().accepts(chain, UnixTime::now()),
        }
    }
}

impl Shared {
    /// The router's clock.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn end_expired(&self, now: UnixTime) {
        let doors = self.with(|_, doors| doors.expired(now.as_secs()));
        doors.iter().for_each(|door| door.kick(Kick::Expired));
    }

    /// Runs `work` on the router and rings at every door that has something to send.
    fn with<T>(&self, work: impl FnOnce(&mut Router, &mut Doors) -> T) -> T {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let result = work(&mut inner.router, &mut inner.doors);
        for link in inner.router.take_woken() {
            if let Some(door) = inner.doors.get(link) {
                door.bell.notify_one();
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while routing leaves at worst one message half distributed; stopping all clients would be worse.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_is_told_and_one_that_is_dropped_is_not() {
        let config = BrokerConfig {
            listeners: vec![Listener {
                addresses: vec!["127.0.0.1:0".parse().unwrap()],
                security: Security::Plain,
                rules: Arc::new(Rules::open()),
            }],
            limits: BrokerLimits::default(),
            closed: false,
        };
        let broker = Broker::start(config).await.unwrap();
        let dropped = tokio::spawn(watched(broker.shared.clone(), std::future::pending()));
        dropped.abort();
        assert!(dropped.await.unwrap_err().is_cancelled());
        assert!(!*broker.shared.broken.borrow());
        let panics = watched(broker.shared.clone(), async { panic!("on purpose") });
        assert!(tokio::spawn(panics).await.unwrap_err().is_panic());
        broker.failed().await;
        broker.shutdown().await;
    }
}
