//! What one exchange costs: a stream that counts what passes, and the account that is settled when the exchange ends.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use sectag_proto::device::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::budget::{Budget, Layers};

/// Bytes on the wire, each way.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

/// A stream whose bytes are counted.
pub(super) struct Counted<S> {
    stream: S,
    counts: Arc<Counts>,
}

/// What one exchange costs, entered when it ends, however it ends.
pub(super) struct Account {
    total: Arc<Mutex<Budget>>,
    counts: Arc<Counts>,
    /// Bytes on the wire when the handshake was over.
    handshake: Option<(u64, u64)>,
    token: u64,
    cbor: u64,
    /// Of TLS, each way.
    plain: (u64, u64),
    /// Of a whole answer.
    body: Option<u64>,
}

impl Account {
    /// For a request with a token and a body of these sizes.
    pub(super) fn new(total: Arc<Mutex<Budget>>, token_bytes: usize, cbor_bytes: usize) -> Self {
        Self {
            total,
            counts: Arc::default(),
            handshake: None,
            token: token_bytes as u64,
            cbor: cbor_bytes as u64,
            plain: (0, 0),
            body: None,
        }
    }

    pub(super) fn counted<S>(&self, stream: S) -> Counted<S> {
        Counted {
            stream,
            counts: Arc::clone(&self.counts),
        }
    }

    /// Everything until now was the handshake.
    pub(super) fn connected(&mut self) {
        self.handshake = Some(self.so_far());
    }

    /// The request was written.
    pub(super) const fn asked(&mut self, bytes: usize) {
        self.plain.0 = bytes as u64;
    }

    /// So much of the answer is there.
    pub(super) const fn heard(&mut self, bytes: usize) {
        self.plain.1 = bytes as u64;
    }

    /// The answer is whole.
    pub(super) const fn answered(&mut self, body_bytes: usize) {
        self.body = Some(body_bytes as u64);
    }

    fn so_far(&self) -> (u64, u64) {
        let Counts { sent, received } = &*self.counts;
        (
            sent.load(Ordering::Relaxed),
            received.load(Ordering::Relaxed),
        )
    }

    fn cost(&self) -> Budget {
        let (sent, received) = self.so_far();
        let (handshake_sent, handshake_received) = self.handshake.unwrap_or((sent, received));
        let (asked, heard) = self.plain;
        let (token, cbor) = match asked {
            0 => (0, 0),
            _ => (self.token, self.cbor),
        };
        let body = self.body.unwrap_or(0);
        Budget {
            transport: Transport::Https,
            handshakes_full: u64::from(self.handshake.is_some()),
            handshakes_resumed: 0,
            round_trips: u64::from(self.body.is_some()),
            sent: Layers {
                handshake: handshake_sent,
                record: sent.saturating_sub(handshake_sent + asked),
                head: asked.saturating_sub(token + cbor),
                token,
                cbor,
                again: 0,
            },
            // Tickets that come after the handshake count as records.
            received: Layers {
                handshake: handshake_received,
                record: received.saturating_sub(handshake_received + heard),
                head: heard.saturating_sub(body),
                token: 0,
                cbor: body,
                again: 0,
            },
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        *total = total.plus(self.cost());
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let count = (buf.filled().len() - before) as u64;
        self.counts.received.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.counts
            .sent
            .fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
