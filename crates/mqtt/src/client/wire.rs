//! The socket below a client, plain or TLS, and the counting of what went through it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::suites::suite_name;

/// What one connection cost, in bytes of TCP payload. Over plain TCP the handshake is empty and `sent` equals `packets_sent`.
///
/// In TLS 1.3 the server's session tickets come after the handshake and count as `received`, not as handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// TLS handshake, sent.
    pub handshake_sent: u64,
    /// TLS handshake, received.
    pub handshake_received: u64,
    /// After the handshake, sent: TLS records with their headers and tags.
    pub sent: u64,
    /// After the handshake, received.
    pub received: u64,
    /// MQTT packets inside `sent`.
    pub packets_sent: u64,
    /// MQTT packets inside `received`.
    pub packets_received: u64,
    /// Payloads of the messages inside `packets_sent`, repetitions not counted.
    pub payload_sent: u64,
    /// Payloads of the messages inside `packets_received`.
    pub payload_received: u64,
    /// Largest TLS record received, header included; 0 over plain TCP. The nRF91 modem takes 2048.
    pub record_received_max: u64,
    /// The handshake continued an earlier TLS session: no certificates were sent.
    pub resumed: bool,
    /// `TLSv1_2`, `TLSv1_3`; `None` over plain TCP.
    pub tls_version: Option<&'static str>,
    /// The cipher suite by its IANA name; `None` over plain TCP.
    pub cipher_suite: Option<&'static str>,
}

/// What a server said before a connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The address that TCP reached.
    pub address: SocketAddr,
    /// Bytes received in all.
    pub received: u64,
    /// The first of them, at most [`Heard::FIRST_BYTES_MAX`].
    pub first: Vec<u8>,
}

impl Heard {
    /// Enough to know a protocol by: a TLS record header, an MQTT packet, `HTTP/1.1 400`, an SSH banner.
    pub const FIRST_BYTES_MAX: usize = 32;
}

/// Counters of one connection, shared by socket, protocol core and whoever asks.
#[derive(Debug)]
pub(super) struct Meter {
    address: SocketAddr,
    tls: bool,
    sent: AtomicU64,
    received: AtomicU64,
    handshake_sent: AtomicU64,
    handshake_received: AtomicU64,
    packets_sent: AtomicU64,
    packets_received: AtomicU64,
    payload_sent: AtomicU64,
    payload_received: AtomicU64,
    heard: Mutex<Listener>,
    session: Mutex<SessionFacts>,
}

#[derive(Debug, Default)]
struct Listener {
    first: Vec<u8>,
    header: Vec<u8>,
    /// Bytes of the current record's body that are still to come.
    body: usize,
    record_max: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct SessionFacts {
    resumed: bool,
    version: Option<&'static str>,
    suite: Option<&'static str>,
}

impl Meter {
    pub(super) fn new(address: SocketAddr, tls: bool) -> Arc<Self> {
        Arc::new(Self {
            address,
            tls,
            sent: AtomicU64::default(),
            received: AtomicU64::default(),
            handshake_sent: AtomicU64::default(),
            handshake_received: AtomicU64::default(),
            packets_sent: AtomicU64::default(),
            packets_received: AtomicU64::default(),
            payload_sent: AtomicU64::default(),
            payload_received: AtomicU64::default(),
            heard: Mutex::default(),
            session: Mutex::default(),
        })
    }

    pub(super) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let session = *self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let record_max = {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.record_max
        };
        let handshake_sent = read(&self.handshake_sent);
        let handshake_received = read(&self.handshake_received);
        Traffic {
            handshake_sent,
            handshake_received,
            sent: read(&self.sent).saturating_sub(handshake_sent),
            received: read(&self.received).saturating_sub(handshake_received),
            packets_sent: read(&self.packets_sent),
            packets_received: read(&self.packets_received),
            payload_sent: read(&self.payload_sent),
            payload_received: read(&self.payload_received),
            record_received_max: record_max,
            resumed: session.resumed,
            tls_version: session.version,
            cipher_suite: session.suite,
        }
    }

    /// Bytes of MQTT received.
    pub(super) fn heard_packets(&self) -> u64 {
        self.packets_received.load(Ordering::Relaxed)
    }

    pub(super) fn heard(&self) -> Arc<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::new(Heard {
            address: self.address,
            received: self.received.load(Ordering::Relaxed),
            first: heard.first.clone(),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything until here was handshake.
    pub(super) fn handshake_is_over(&self, tls: &rustls::ClientConnection) {
        let copy = |from: &AtomicU64, to: &AtomicU64| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        copy(&self.sent, &self.handshake_sent);
        copy(&self.received, &self.handshake_received);
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = SessionFacts {
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            version: tls.protocol_version().and_then(|version| version.as_str()),
            suite: tls
                .negotiated_cipher_suite()
                .and_then(|suite| suite_name(suite.suite())),
        };
    }

    pub(super) fn count_packets_sent(&self, bytes: usize) {
        self.packets_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_packets_received(&self, bytes: usize) {
        self.packets_received
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_payload_sent(&self, bytes: usize) {
        self.payload_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_payload_received(&self, bytes: usize) {
        self.payload_received
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_received(&self, bytes: &[u8]) {
        self.received
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.take(bytes, self.tls);
    }
}

impl Listener {
    fn take(&mut self, mut bytes: &[u8], tls: bool) {
        let room = Heard::FIRST_BYTES_MAX - self.first.len();
        self.first
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        while tls && !bytes.is_empty() {
            if self.body > 0 {
                let count = self.body.min(bytes.len());
                self.body -= count;
                bytes = &bytes[count..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let [_, _, _, high, low] = self.header[..] {
                self.body = usize::from(u16::from_be_bytes([high, low]));
                self.record_max = self.record_max.max(self.body as u64 + 5);
                self.header.clear();
            }
        }
    }
}

/// A TCP stream that counts.
#[derive(Debug)]
pub(super) struct Wire {
    tcp: TcpStream,
    meter: Arc<Meter>,
}

impl Wire {
    pub(super) const fn new(tcp: TcpStream, meter: Arc<Meter>) -> Self {
        Self { tcp, meter }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        self.meter.count_received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.tcp).poll_write(context, bytes))?;
        self.meter.count_sent(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, slices))?;
        self.meter.count_sent(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// What MQTT is spoken over.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_largest_record_is_found_however_the_bytes_arrive(
            lengths in proptest::collection::vec(0..700_u16, 1..9),
            sizes in proptest::collection::vec(1..300_usize, 1..9),
        ) {
            let mut stream = Vec::new();
            for length in &lengths {
                stream.extend([0x17, 3, 3]);
                stream.extend(length.to_be_bytes());
                stream.extend(std::iter::repeat_n(0xaa, usize::from(*length)));
            }
            let mut listener = Listener::default();
            let mut rest = &stream[..];
            for size in sizes.iter().cycle() {
                let (chunk, after) = rest.split_at(rest.len().min(*size));
                listener.take(chunk, true);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let largest = lengths.iter().max().copied().unwrap_or(0);
            prop_assert_eq!(listener.record_max, u64::from(largest) + 5);
            prop_assert_eq!((listener.body, listener.header.len()), (0, 0));
            let first = &stream[..stream.len().min(Heard::FIRST_BYTES_MAX)];
            prop_assert_eq!(&listener.first[..], first);
        }

        #[test]
        fn what_is_no_tls_is_heard_as_well(bytes: Vec<u8>) {
            for tls in [false, true] {
                let mut listener = Listener::default();
                listener.take(&bytes, tls);
                prop_assert!(listener.first.len() <= Heard::FIRST_BYTES_MAX);
            }
        }
    }
}
