//! One connection: its TLS handshake, one HTTP/1.1 conversation, and what travels with each request of it.

use super::offered::Offered;
use super::{Chain, Manners, SHUTDOWN_MAX};
use crate::admission::Admission;
use crate::app::Clock;
use crate::metrics::Metrics;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// One connection, from the handshake to its end.
pub(super) struct Visit {
    pub(super) door: &'static str,
    pub(super) from: SocketAddr,
    pub(super) manners: Manners,
    pub(super) shutdown: watch::Receiver<bool>,
    pub(super) admission: Arc<Admission>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
}

impl Visit {
    /// The TLS session; `None`, and a line that says why.
    pub(super) async fn handshake<IO>(
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

    pub(super) async fn talk<S, B, IO>(self, io: IO, service: S)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{LONG, SHORT, clock, manners};
    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

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
}
