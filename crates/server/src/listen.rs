//! Doors: accept, TLS handshake, one HTTP/1.1 conversation, and an orderly end.
//!
//! ```text
//!  accept loop ──permit──► task: handshake (deadline) ──► hyper (head deadline, whole-connection deadline)
//!       ▲ shutdown: stop accepting ─────────────────────► finish the request in hand, at most SHUTDOWN_MAX
//! ```
//! A slow or silent peer holds one task and one permit until its deadline; it never delays the accept loop. One address holds
//! no more of a door's places than are free, so that it cannot close the door to others.

mod offered;

use crate::admission::{Admission, Shares, neighbourhood};
use crate::app::Clock;
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use offered::Offered;
use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

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

/// Travels with each request: the crash point to pass once its answer has left and the connection is closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered(Arc<Mutex<Option<&'static str>>>);

impl Answered {
    /// Names the point of the answer about to be sent.
    pub(crate) fn mark(&self, point: &'static str) {
        if let Ok(mut slot) = self.0.lock() {
            *slot = Some(point);
        }
    }

    fn pass(&self) {
        if let Ok(mut slot) = self.0.lock()
            && let Some(point) = slot.take()
        {
            sectag_keep::crash::point(point);
        }
    }
}

/// Travels with each request: where it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Travels with each request: an answer that lasts, and sees to its own end, keeps the connection beyond
/// [`Manners::connection_max`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Lasting(Arc<AtomicUsize>);

/// An answer that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct Lasts(Arc<AtomicUsize>);

impl Lasting {
    /// The answer about to be sent lasts.
    pub(crate) fn begin(&self) -> Lasts {
        self.0.fetch_add(1, Ordering::Relaxed);
        Lasts(self.0.clone())
    }

    fn is_going_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Lasts {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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

struct Visit {
    door: &'static str,
    from: SocketAddr,
    manners: Manners,
    shutdown: watch::Receiver<bool>,
    admission: Arc<Admission>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Visit {
    /// The TLS session; `None`, and a line that says why.
    async fn handshake<IO>(
        &self,
        socket: IO,
        config: Arc<rustls::ServerConfig>,
    ) -> Option<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut offered = Offered::default();
        let handshake = async {
            let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket);
            let start = acceptor.await?;
            offered = Offered::of(&start.client_hello());
            start.into_stream(config).await
        };
        let ended = tokio::time::timeout(self.manners.handshake_max, handshake).await;
        let (door, from) = (self.door, self.from);
        self.metrics.handshake(
            door,
            match &ended {
                Ok(Ok(_)) => "finished",
                Ok(Err(e)) if is_silence(e) && offered.is_empty() => "silent",
                Ok(Err(_)) => "failed",
                Err(_) => "late",
            },
        );
        match ended {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(e)) if is_silence(&e) && offered.is_empty() => {
                // A port scan, a health check.
                tracing::debug!(door, %from, reason = %e, "closed before it said a word");
            }
            Ok(Err(e)) => {
                if self.may_tell() {
                    let reason = offered.words(&e);
                    tracing::info!(door, %from, %reason, "TLS handshake failed");
                }
            }
            Err(_) => {
                if self.may_tell() {
                    tracing::info!(door, %from, "TLS handshake not finished in time, closed");
                }
            }
        }
        None
    }

    fn may_tell(&self) -> bool {
        self.admission.may_tell((self.clock)())
    }

    async fn talk<S, B, IO>(self, io: IO, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut shutdown = self.shutdown.clone();
        let Manners {
            head_max,
            connection_max,
            keep_alive,
            headers_max,
            head_bytes_max,
            ..
        } = self.manners;
        let answered = Answered::default();
        let mark = answered.clone();
        let lasting = Lasting::default();
        let lasts = lasting.clone();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let peer = Peer(self.from);
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            count.fetch_add(1, Ordering::Relaxed);
            request.extensions_mut().insert(mark.clone());
            request.extensions_mut().insert(lasts.clone());
            service.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_max)
            .auto_date_header(false)
            .keep_alive(keep_alive)
            .max_headers(headers_max)
            .max_buf_size(head_bytes_max)
            .serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        let limit = tokio::time::sleep(connection_max);
        tokio::pin!(limit);
        let mut last = !keep_alive;
        let mut closing = false;
        loop {
            tokio::select! {
                end = &mut connection => {
                    match end {
                        Ok(()) => answered.pass(),
                        Err(e) if e.is_timeout() && requests.load(Ordering::Relaxed) > 0 => {
                            tracing::debug!(door = self.door, from = %self.from, "no further request in time, closed");
                        }
                        Err(e) => self.note(&e),
                    }
                    return;
                }
                () = &mut limit => {
                    if lasting.is_going_on() {
                        limit.set(tokio::time::sleep(connection_max));
                        continue;
                    }
                    if last && self.may_tell() {
                        tracing::info!(door = self.door, from = %self.from, "half a request: not complete in time, closed, nothing changed");
                    }
                    if last {
                        return;
                    }
                    last = true;
                    limit.set(tokio::time::sleep(SHUTDOWN_MAX));
                    connection.as_mut().graceful_shutdown();
                }
                _ = shutdown.wait_for(|asked| *asked), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn note(&self, e: &hyper::Error) {
        let (door, from, reason) = (self.door, self.from, Chain(e));
        let half =
            e.is_timeout() || e.is_incomplete_message() || e.is_user() || e.is_body_write_aborted();
        if (half || e.is_parse()) && self.may_tell() {
            let what = if half {
                "half a request"
            } else {
                "not HTTP/1.1"
            };
            tracing::info!(door, %from, %reason, "{what}: connection closed, nothing changed");
        } else {
            tracing::debug!(door, %from, %reason, "connection ended");
        }
    }
}

/// Whether the peer left without a word.
fn is_silence(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::UnexpectedEof || e.kind() == io::ErrorKind::ConnectionReset
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
    use http_body_util::{BodyExt, Full};
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    fn clock() -> Clock {
        Arc::new(|| sectag_proto::Timestamp::from_secs(1_800_000_000))
    }

    /// A visit over a pipe of 64 bytes, answered with the request's body once it is there.
    async fn visit(
        manners: Manners,
    ) -> (
        DuplexStream,
        tokio::task::JoinHandle<()>,
        watch::Sender<bool>,
    ) {
        let (client, server) = duplex(64);
        let (stop, shutdown) = watch::channel(false);
        let visit = Visit {
            door: "test",
            from: "127.0.0.1:1".parse().unwrap(),
            manners,
            shutdown,
            admission: Arc::default(),
            clock: clock(),
            metrics: Arc::default(),
        };
        let echo = hyper::service::service_fn(async |request: Request<Incoming>| {
            let body = request
                .into_body()
                .collect()
                .await
                .map(|all| all.to_bytes());
            Ok::<_, Infallible>(Response::new(Full::new(
                body.unwrap_or_else(|_| Bytes::new()),
            )))
        });
        (client, tokio::spawn(visit.talk(server, echo)), stop)
    }

    const fn manners(keep_alive: bool, head_max: Duration, connection_max: Duration) -> Manners {
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

    async fn closed_without_an_answer(mut client: DuplexStream) {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty(), "{answer:?}");
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_closed_in_time() {
        let (mut client, done, _stop) = visit(manners(false, SHORT, LONG)).await;
        client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        closed_without_an_answer(client).await;
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_closed_in_time() {
        let (mut client, done, _stop) = visit(manners(false, LONG, SHORT)).await;
        let half = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf";
        client.write_all(half).await.unwrap();
        closed_without_an_answer(client).await;
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_kept_alive_ends_in_time_and_not_within_a_request() {
        let (mut client, done, _stop) = visit(manners(true, LONG, SHORT)).await;
        let half = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nha";
        client.write_all(half).await.unwrap();
        tokio::time::sleep(2 * SHORT).await;
        client.write_all(b"lf").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("half"),
            "{answer}"
        );
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_reads_no_answers_is_cut() {
        let (mut client, done, _stop) = visit(manners(true, LONG, SHORT)).await;
        // Far more than the pipe takes back; the writes end when the visit does.
        while client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.is_ok() {}
        done.await.unwrap();
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
