//! The embedded broker: a listener with mutual TLS in front of the [`Router`].
//!
//! ```text
//!   accept loop ──► one task per connection: handshake (deadline) → CONNECT (same deadline) → Link ◄─► Router
//!        │                                                                          ▲
//!        └── limits: connections, handshakes            set_trust, shutdown ────────┘ every task hears of both
//! ```
//!
//! The accept loop never waits for a client. A change of trust holds for new handshakes at once and is checked against
//! every live connection, which is closed if its certificate would be refused.

mod accept;
mod socket;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::counters::{Counters, Snapshot};
use crate::link::{Kick, LinkLimits};
use crate::router::{LinkId, Router, RouterLimits};
use crate::trust::Trust;

/// How long a client has from TCP accept to a complete CONNECT. A modem on a poor NB-IoT link needs several seconds for a
/// handshake; a peer that says nothing must not hold a slot for long.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);

/// How long a client may take no bytes while some wait for it, before the connection is given up.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// How long [`Broker::shutdown`] waits for connections to say goodbye.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);

/// Bounds of the broker. Every one is reached with an error or a counted drop, never with a crash.
#[derive(Debug, Clone, Copy)]
pub struct BrokerLimits {
    /// Most TCP connections at a time.
    pub connections_max: usize,
    /// Most connections that are in their handshake at a time: bounds CPU and memory spent on strangers.
    pub handshakes_max: usize,
    /// Time from accept to CONNECT; default [`HANDSHAKE_DEADLINE`].
    pub handshake_deadline: Duration,
    /// Bounds of each connection.
    pub link: LinkLimits,
    /// Bounds of what is remembered.
    pub router: RouterLimits,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            handshakes_max: 512,
            handshake_deadline: HANDSHAKE_DEADLINE,
            link: LinkLimits::default(),
            router: RouterLimits::default(),
        }
    }
}

/// What [`Broker::start`] needs besides the [`Trust`].
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Address to listen on; port 0 takes any free one, see [`Broker::local_addr`].
    pub listen: SocketAddr,
    /// Bounds.
    pub limits: BrokerLimits,
}

impl BrokerConfig {
    /// Listens on `listen` with the default limits.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            limits: BrokerLimits::default(),
        }
    }
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address could not be bound.
    #[error("cannot listen for MQTT on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

impl BrokerError {
    /// What the reader can do about it.
    pub fn hint(&self) -> String {
        let Self::Listen { address, source } = self;
        match source.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "another program (mosquitto, or this service) listens on port {}; stop it or choose another port, 0 takes any free one",
                address.port()
            ),
            std::io::ErrorKind::PermissionDenied => {
                format!(
                    "port {} needs more rights; choose one above 1023",
                    address.port()
                )
            }
            std::io::ErrorKind::AddrNotAvailable => {
                format!("{} is not an address of this machine", address.ip())
            }
            _ => "choose another address or port".into(),
        }
    }
}

/// A running broker. Dropping it ends it without goodbye; [`Broker::shutdown`] is the orderly way.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    accept_loop: Option<JoinHandle<()>>,
}

impl Broker {
    /// Binds the address and starts accepting. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Listen`] when the address is taken, foreign or privileged.
    pub async fn start(config: BrokerConfig, trust: Arc<Trust>) -> Result<Self, BrokerError> {
        let failed = |source| BrokerError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let counters = Arc::new(Counters::default());
        let shared = Arc::new(Shared {
            limits: config.limits,
            trust: ArcSwap::new(trust),
            changes: watch::channel(Change::None).0,
            inner: Mutex::new(Inner {
                router: Router::new(config.limits.router, counters.clone()),
                doors: HashMap::new(),
            }),
            counters,
            started: Instant::now(),
        });
        let accept_loop = tokio::spawn(accept::run(listener, shared.clone()));
        tracing::info!(address = %local_addr, "MQTT broker listens");
        Ok(Self {
            shared,
            local_addr,
            accept_loop: Some(accept_loop),
        })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What was counted until now.
    pub fn counters(&self) -> Snapshot {
        self.shared.counters.snapshot()
    }

    /// Replaces certificate, authorities and revocation lists for new connections, and closes live ones whose certificate is
    /// trusted no more.
    pub fn set_trust(&self, trust: Arc<Trust>) {
        self.shared.trust.store(trust);
        self.shared.changes.send_modify(|change| {
            if let Change::None | Change::Trust(_) = change {
                let round = match change {
                    Change::Trust(round) => *round + 1,
                    _ => 1,
                };
                *change = Change::Trust(round);
            }
        });
    }

    /// Stops accepting, tells MQTT 5 clients that the server shuts down, closes everything. Wills are not published.
    pub async fn shutdown(mut self) {
        self.shared.changes.send_replace(Change::Stop);
        if let Some(mut accept_loop) = self.accept_loop.take()
            && tokio::time::timeout(SHUTDOWN_DEADLINE + Duration::from_secs(1), &mut accept_loop)
                .await
                .is_err()
        {
            accept_loop.abort();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(accept_loop) = self.accept_loop.take() {
            accept_loop.abort();
        }
    }
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
    trust: ArcSwap<Trust>,
    changes: watch::Sender<Change>,
    inner: Mutex<Inner>,
    counters: Arc<Counters>,
    started: Instant,
}

struct Inner {
    router: Router,
    doors: HashMap<LinkId, Arc<Door>>,
}

/// How others reach a connection's task.
#[derive(Debug, Default)]
struct Door {
    /// Something waits in the session queue, or `kick` was set.
    bell: Notify,
    kick: Mutex<Option<Kick>>,
}

impl Shared {
    /// The router's clock.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Runs `work` on the router and rings at every door that has something to send.
    fn with<T>(&self, work: impl FnOnce(&mut Router, &mut HashMap<LinkId, Arc<Door>>) -> T) -> T {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let result = work(&mut inner.router, &mut inner.doors);
        for link in inner.router.take_woken() {
            if let Some(door) = inner.doors.get(&link) {
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

impl Door {
    fn kick(&self, kick: Kick) {
        *self.kick.lock().unwrap_or_else(PoisonError::into_inner) = Some(kick);
        self.bell.notify_one();
    }

    fn take_kick(&self) -> Option<Kick> {
        self.kick
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
