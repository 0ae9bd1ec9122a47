//! Doors: accept, TLS handshake, one HTTP/1.1 conversation, and an orderly end.
//!
//! ```text
//!  accept loop ──permit──► task: handshake (deadline) ──► hyper (head deadline, whole-connection deadline)
//!       ▲ shutdown: stop accepting ─────────────────────► finish the request in hand, at most SHUTDOWN_MAX
//! ```
//! A slow or silent peer holds one task and one permit until its deadline; it never delays the accept loop.

use arc_swap::ArcSwap;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The server side of TLS, exchangeable while connections live: a new one serves the next handshake.
pub(crate) type LiveTls = Arc<ArcSwap<rustls::ServerConfig>>;

/// How a door treats its visitors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// Connections at the same time; the next one waits in the listen backlog.
    pub(crate) connections_max: usize,
    /// From accept to a finished handshake: a modem on a slow link needs several seconds for its ECDHE.
    pub(crate) handshake_max: Duration,
    /// From the first byte of a request's head to its last one.
    pub(crate) head_max: Duration,
    /// From handshake to close; `None` where connections are kept alive.
    pub(crate) connection_max: Option<Duration>,
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
#[derive(Debug)]
pub(crate) struct Door {
    /// For log lines: `device`, `owner`, `loopback`.
    pub(crate) name: &'static str,
    /// Bound.
    pub(crate) listener: TcpListener,
    /// `None` speaks plain HTTP.
    pub(crate) tls: Option<LiveTls>,
    /// Limits.
    pub(crate) manners: Manners,
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
                    // A small answer must not wait for the acknowledgement of the one before it.
                    let _ = socket.set_nodelay(true);
                    let visit = Visit {
                        door: self.name,
                        from,
                        manners: self.manners,
                        shutdown: shutdown.clone(),
                    };
                    let service = service.clone();
                    let tls = self.tls.as_ref().map(|live| live.load_full());
                    visits.spawn(async move {
                        let _permit = permit;
                        match tls {
                            None => visit.talk(socket, service).await,
                            Some(config) => {
                                let handshake = TlsAcceptor::from(config).accept(socket);
                                match tokio::time::timeout(visit.manners.handshake_max, handshake)
                                    .await
                                {
                                    Ok(Ok(stream)) => visit.talk(stream, service).await,
                                    Ok(Err(e)) => {
                                        tracing::info!(door = visit.door, %from, reason = %e, "TLS handshake failed");
                                    }
                                    Err(_) => {
                                        tracing::info!(door = visit.door, %from, "TLS handshake not finished in time, closed");
                                    }
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

struct Visit {
    door: &'static str,
    from: SocketAddr,
    manners: Manners,
    shutdown: watch::Receiver<bool>,
}

impl Visit {
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
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(mark.clone());
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
        let limit = async {
            match connection_max {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(limit);
        let mut closing = false;
        loop {
            tokio::select! {
                end = &mut connection => {
                    match end {
                        Ok(()) => answered.pass(),
                        Err(e) => self.note(&e),
                    }
                    return;
                }
                () = &mut limit => {
                    tracing::info!(door = self.door, from = %self.from, "half a request: not complete in time, closed, nothing changed");
                    return;
                }
                _ = shutdown.wait_for(|asked| *asked), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    fn note(&self, e: &hyper::Error) {
        let (door, from) = (self.door, self.from);
        if e.is_timeout() || e.is_incomplete_message() || e.is_user() || e.is_body_write_aborted() {
            tracing::info!(door, %from, reason = %Chain(e), "half a request: connection closed, nothing changed");
        } else if e.is_parse() {
            tracing::info!(door, %from, reason = %Chain(e), "not HTTP/1.1: connection closed, nothing changed");
        } else {
            tracing::debug!(door, %from, reason = %Chain(e), "connection ended");
        }
    }
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
