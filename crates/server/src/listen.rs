//! Doors: accept, TLS handshake, one HTTP/1.1 conversation, and an orderly end.
//!
//! ```text
//!  accept loop ──permit──► task: handshake (deadline) ──► hyper (head deadline, whole-connection deadline)
//!       ▲ shutdown: stop accepting ─────────────────────► finish the request in hand, at most SHUTDOWN_MAX
//! ```
//! A slow or silent peer holds one task and one permit until its deadline; it never delays the accept loop. One address holds
//! no more of a door's places than are free, so that it cannot close the door to others.

mod offered;
mod visit;

pub(crate) use visit::{Answered, Lasting, Lasts, Peer};

use crate::admission::{Admission, Shares, neighbourhood};
use crate::app::Clock;
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use visit::Visit;

/// The server side of TLS, exchangeable while connections live: a new one serves the next handshake.
pub(crate) type LiveTls = Arc<ArcSwap<rustls::ServerConfig>>;

/// How a door treats its visitors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// Connections at the same time; the next one waits in the listen backlog.
    pub(crate) connections_max: usize,
    /// Whether an address may hold no more of them than are free; a connection over that is closed at once.
    pub(crate) shared: bool,
    /// From accept to a finished handshake: a modem on a slow link needs several seconds for its ECDHE.
    pub(crate) handshake_max: Duration,
    /// From the first byte of a request's head to its last one.
    pub(crate) head_max: Duration,
    /// From handshake to close. A connection that is kept alive finishes the request in hand then, at most
    /// [`SHUTDOWN_MAX`]. So nobody holds a place for ever with half a request, or by not reading answers.
    pub(crate) connection_max: Duration,
    /// Whether one connection may carry several requests.
    pub(crate) keep_alive: bool,
    /// Headers of one request, and bytes of its head.
    pub(crate) headers_max: usize,
    /// Bytes read ahead, which also bounds a request's head.
    pub(crate) head_bytes_max: usize,
}

/// Requests in hand get this long to finish once a shutdown was asked for.
pub(crate) const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
/// Pause after an accept error (file descriptors used up): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener and how it answers.
pub(crate) struct Door {
    /// For log lines: `device`, `owner`, `loopback`.
    pub(crate) name: &'static str,
    /// Bound.
    pub(crate) listener: TcpListener,
    /// `None` speaks plain HTTP.
    pub(crate) tls: Option<LiveTls>,
    /// Limits.
    pub(crate) manners: Manners,
    /// Counts whom it turned away, and the lines about it.
    pub(crate) admission: Arc<Admission>,
    /// The calendar, for the lines.
    pub(crate) clock: Clock,
    /// Counts handshakes.
    pub(crate) metrics: Arc<Metrics>,
}

impl Door {
    /// Serves until `shutdown` turns true, then finishes what is in hand.
    pub(crate) async fn serve<S, B>(self, service: S, mut shutdown: watch::Receiver<bool>)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let permits = Arc::new(Semaphore::new(self.manners.connections_max));
        let shares = Arc::new(Mutex::new(Shares::new(self.manners.connections_max)));
        let mut visits = JoinSet::new();
        loop {
            let permit = tokio::select! {
                permit = permits.clone().acquire_owned() => permit,
                _ = shutdown.wait_for(|asked| *asked) => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = shutdown.wait_for(|asked| *asked) => break,
            };
            while visits.try_join_next().is_some() {}
            match accepted {
                Ok((socket, from)) => {
                    let share = match self.manners.shared {
                        true => match Share::take(&shares, from) {
                            None => {
                                self.admission.over_its_share();
                                if self.admission.may_tell((self.clock)()) {
                                    tracing::info!(door = self.name, %from, "connection closed at once: its address holds as many as are free");
                                }
                                continue;
                            }
                            share => share,
                        },
                        false => None,
                    };
                    // A small answer must not wait for the acknowledgement of the one before it.
                    let _ = socket.set_nodelay(true);
                    let visit = Visit {
                        door: self.name,
                        from,
                        manners: self.manners,
                        shutdown: shutdown.clone(),
                        admission: self.admission.clone(),
                        clock: self.clock.clone(),
                        metrics: self.metrics.clone(),
                    };
                    let service = service.clone();
                    let tls = self.tls.as_ref().map(|live| live.load_full());
                    visits.spawn(async move {
                        let _places = (permit, share);
                        match tls {
                            None => visit.talk(socket, service).await,
                            Some(config) => {
                                if let Some(stream) = visit.handshake(socket, config).await {
                                    visit.talk(stream, service).await;
                                }
                            }
                        }
                    });
                }
                Err(e) => {
                    tracing::warn!(door = self.name, reason = %e, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let rest = async { while visits.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_MAX, rest).await.is_err() {
            tracing::info!(door = self.name, "connections still open at shutdown, cut");
        }
    }
}

/// One of the places that addresses share, until it is dropped.
struct Share {
    shares: Arc<Mutex<Shares>>,
    address: IpAddr,
}

impl Share {
    fn take(shares: &Arc<Mutex<Shares>>, from: SocketAddr) -> Option<Self> {
        let address = neighbourhood(from.ip());
        let taken = shares.lock().is_ok_and(|mut shares| shares.take(address));
        taken.then(|| Self {
            shares: shares.clone(),
            address,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Ok(mut shares) = self.shares.lock() {
            shares.give_back(&self.address);
        }
    }
}

/// Text for a log field, whoever made it: without line ends and terminal codes, so that nobody writes lines of his own.
pub(crate) fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// An error with its causes, on one line, for a log field.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn StdError);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(e) = cause {
            write!(f, ": {e}")?;
            cause = e.source();
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use std::convert::Infallible;
    use tokio::io::AsyncReadExt;

    pub(super) const SHORT: Duration = Duration::from_millis(50);
    pub(super) const LONG: Duration = Duration::from_secs(60);

    pub(super) fn clock() -> Clock {
        Arc::new(|| sectag_proto::Timestamp::from_secs(1_800_000_000))
    }

    pub(super) const fn manners(
        keep_alive: bool,
        head_max: Duration,
        connection_max: Duration,
    ) -> Manners {
        Manners {
            connections_max: 1,
            shared: false,
            handshake_max: LONG,
            head_max,
            connection_max,
            keep_alive,
            headers_max: 16,
            head_bytes_max: 8192,
        }
    }

    /// A door that answers everything with nothing, over TLS.
    async fn open(
        manners: Manners,
        admission: &Arc<Admission>,
    ) -> (SocketAddr, tokio::task::JoinHandle<()>, watch::Sender<bool>) {
        let dir = tempfile::tempdir().unwrap();
        let home = crate::home::Home::open(&dir.path().join("home"), clock()()).unwrap();
        let config = crate::tls::for_devices(&home.server_pair(&[]).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door {
            name: "test",
            listener,
            tls: Some(Arc::new(ArcSwap::from_pointee(config))),
            manners,
            admission: admission.clone(),
            clock: clock(),
            metrics: Arc::default(),
        };
        let (stop, stopped) = watch::channel(false);
        let nothing = hyper::service::service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        });
        let open = tokio::spawn(door.serve(nothing, stopped));
        (address, open, stop)
    }

    #[tokio::test]
    async fn an_address_holds_no_more_places_than_are_free() {
        let manners = Manners {
            connections_max: 6,
            shared: true,
            ..manners(false, LONG, LONG)
        };
        let admission: Arc<Admission> = Arc::default();
        let (address, open, stop) = open(manners, &admission).await;
        let mut guests = Vec::new();
        for _ in 0..5 {
            guests.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        // Three of six; the others are closed without a word, and one that leaves gives its place back.
        for mut guest in guests.split_off(3) {
            let end = guest.read(&mut [0]).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
        assert_eq!(admission.turned_away().shares, 2);
        drop(guests.pop());
        loop {
            let mut guest = tokio::net::TcpStream::connect(address).await.unwrap();
            let wait = tokio::time::timeout(SHORT, guest.read(&mut [0])).await;
            if wait.is_err() {
                break;
            }
        }
        stop.send_replace(true);
        drop(guests);
        open.await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_guest_gives_its_place_to_the_next_one_and_shutdown_waits_for_nobody() {
        let manners = Manners {
            handshake_max: SHORT,
            ..manners(false, LONG, LONG)
        };
        let (address, open, stop) = open(manners, &Arc::default()).await;
        // One place; each guest says nothing, and each is shown out in its turn.
        let mut guests = Vec::new();
        for _ in 0..3 {
            guests.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        for mut guest in guests {
            let mut answer = Vec::new();
            guest.read_to_end(&mut answer).await.unwrap();
            assert!(answer.is_empty());
        }
        stop.send_replace(true);
        open.await.unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn a_log_field_stays_on_its_line() {
        assert_eq!(
            one_line("a\r\nINFO b\u{1b}[2J"),
            "a\u{fffd}\u{fffd}INFO b\u{fffd}[2J"
        );
    }
}
