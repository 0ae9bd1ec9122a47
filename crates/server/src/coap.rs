//! The device API over CoAP and DTLS (spec/device-protocol §6): one UDP socket, one task, many sessions.
//!
//! ```text
//!   socket ─► pace ─► dtls::Endpoint ─► records ─► coap::Server ─► requests ─► app (a task each)
//!     ▲                     ▲                          ▲                          │
//!     └──── datagrams ──────┴──────── messages ────────┴──────── answers ◄────────┘   a bounded channel
//! ```
//! This file carries and keeps the books; requests go out and answers come back in [`requests`]. What is answered is decided in
//! [`crate::app`], by the same code as over HTTPS, and what a session may do in [`sectag_proto::service::grants`]. Nothing waits
//! while the endpoint is in use. A restart in good order takes the sessions along ([`saved`]); after a crash devices resume by
//! ticket or session ID ([`resume`]), at a measured pace ([`pace`]); who does not say who it is does not stay ([`newcomers`]).

mod answers;
mod books;
mod newcomers;
mod pace;
mod requests;
mod resume;
mod saved;
mod seal;

use answers::Answer;
use books::{Books, Closing, Figures};
use newcomers::{NEWCOMERS_MAX, Newcomers};
use pace::Pace;
use resume::{Bounds, Resumptions};
use saved::Between;

use crate::admission::{DECISIONS_MAX, Place};
use crate::app::App;
use crate::error::StartError;
use crate::home::{Home, Pair};
use crate::listen::SHUTDOWN_MAX;
use crate::settings::Coap;
use rustix::net::sockopt;
use sectag_coap::{Output as CoapOutput, Server};
use sectag_dtls::{
    CloseReason, Counters, Endpoint, Event, Identity, Limits, MasterSecret, Now, Output, Random,
    ServerConfig, SessionKey,
};
use sectag_proto::service::grants::{GrantLimits, Grants};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

/// DTLS sessions of devices at the same time, about 10 kB each; one more ends the one that was idle for the longest time. As
/// many devices as one home is meant for, twice. The file of saved sessions (about 500 bytes each) stays below what `keep` reads.
/// Those who have not said who they are have places of their own ([`newcomers`]), so they end no device's session.
pub(crate) const SESSIONS_MAX: usize = 20_000;
/// Handshakes at the same time, each about 20 kB until it ends. At [`pace::HANDSHAKES_PER_S`] a modem has five seconds for
/// its half of it.
pub(crate) const HANDSHAKES_MAX: usize = 2_000;
/// Bytes that wait to be sent: 200 bytes for each session of a full house at once. More is dropped, and its receiver asks again.
pub(crate) const QUEUED_BYTES_MAX: usize = 4 << 20;
/// Bytes of a body from somebody who has not said who it is: a token with twice the room that the client's buffer has for it.
pub(crate) const STRANGER_BODY_BYTES_MAX: usize = 2048;
/// Datagrams taken from the socket before others get their turn: at 10 µs each, less than a millisecond.
const BATCH: usize = 64;
/// New handshakes fed before others get their turn, 1.2 ms each.
const HANDSHAKES_AT_A_TURN: usize = 2;
/// Room in the kernel for datagrams that wait for us: some thousand, as many as devices answer to one moment (the end of a
/// network's outage). The system may grant less (`net.core.rmem_max`).
const RECEIVE_BYTES: usize = 4 << 20;
/// A UDP payload; what is larger is cut, and so does not authenticate.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// The keys of cookies and tickets are derived from a key that is derived for this.
const SECRET_PURPOSE: &str = "sectag dtls 1";

/// Everything behind the socket.
pub(crate) struct Listener {
    socket: UdpSocket,
    endpoint: Endpoint,
    server: Server,
    grants: Grants,
    books: Books,
    pace: Pace,
    newcomers: Newcomers,
    /// Sessions to be closed once what they were answered has left.
    leaving: Vec<u64>,
    app: Arc<App>,
    /// What new peers are shown.
    pairs: watch::Receiver<Arc<Pair>>,
    settings: Coap,
    between: Between,
    resumptions: Resumptions,
    begun: Instant,
    answers: (mpsc::Sender<InHand>, mpsc::Receiver<InHand>),
    /// Requests that the use cases have.
    in_hand: usize,
}

/// An answer, and the place it had among [`DECISIONS_MAX`].
type InHand = (Answer, Place);

/// Bound, not served yet.
pub(crate) type Socket = UdpSocket;

/// Binds the socket.
///
/// # Errors
/// [`StartError::Listen`].
pub(crate) async fn bind(address: SocketAddr) -> Result<Socket, StartError> {
    let socket = UdpSocket::bind(address)
        .await
        .map_err(cannot_listen(address))?;
    // Root may have as much as it asks for, others as much as the system says; less is slower, not wrong.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BYTES);
    }
    Ok(socket)
}

/// What was bound.
///
/// # Errors
/// [`StartError::Listen`].
pub(crate) fn address(
    socket: &Socket,
    asked: SocketAddr,
) -> Result<Option<SocketAddr>, StartError> {
    socket.local_addr().map(Some).map_err(cannot_listen(asked))
}

fn cannot_listen(address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Listen {
        what: "coap",
        address,
        source,
    }
}

impl Listener {
    /// Takes over the sessions of an orderly end, whose file is gone when this returns. Blocks on files.
    ///
    /// # Errors
    /// [`StartError::Dtls`], [`StartError::Random`].
    pub(crate) fn open(
        socket: UdpSocket,
        app: Arc<App>,
        home: &Home,
        mut pairs: watch::Receiver<Arc<Pair>>,
        settings: Coap,
    ) -> Result<Self, StartError> {
        let cannot = |e: sectag_dtls::ConfigError| StartError::Dtls(e.to_string());
        let identity = identity(&pairs.borrow_and_update()).map_err(cannot)?;
        let secret = MasterSecret::new(*home.derived_key(SECRET_PURPOSE));
        let limits = Limits {
            sessions_max: SESSIONS_MAX + NEWCOMERS_MAX + HANDSHAKES_MAX,
            handshakes_max: HANDSHAKES_MAX,
            queued_bytes_max: QUEUED_BYTES_MAX,
            ..Limits::default()
        };
        let config = ServerConfig {
            limits,
            ..ServerConfig::new(identity, secret)
        };
        let endpoint = Endpoint::new(config, Box::new(System)).map_err(cannot)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(StartError::Random)?;
        let between = Between::new(home.path(), &home.derived_key(saved::PURPOSE));
        let bounds = Bounds {
            sessions_max: limits.cached_sessions_max,
            age_max_s: limits.ticket_lifetime.as_secs(),
        };
        let key = home.derived_key(resume::PURPOSE);
        let now_s = app.now().as_secs();
        let (resumptions, found) = Resumptions::open(home.path(), &key, bounds, now_s);
        let mut listener = Self {
            socket,
            endpoint,
            server: Server::new(
                sectag_coap::Limits {
                    stranger_body_bytes_max: STRANGER_BODY_BYTES_MAX,
                    ..sectag_coap::Limits::default()
                },
                u64::from_be_bytes(seed),
            ),
            grants: Grants::new(GrantLimits::default()),
            books: Books::default(),
            pace: Pace::new(Duration::ZERO),
            newcomers: Newcomers::new(settings.stranger_time_max),
            leaving: Vec::new(),
            app,
            pairs,
            settings,
            between,
            resumptions,
            begun: Instant::now(),
            answers: mpsc::channel(DECISIONS_MAX),
            in_hand: 0,
        };
        for (id, session) in &found {
            listener.endpoint.remember(id, session);
        }
        listener.load();
        listener.show();
        Ok(listener)
    }

    /// What it counts, for whoever asks; written anew after each turn.
    pub(crate) fn status(&self) -> impl Fn() -> Value + Send + Sync + 'static {
        let figures = self.books.figures.clone();
        move || figures.lock().map_or(Value::Null, |figures| figures.json())
    }

    /// Serves until `stop` turns true, answers what is in hand, and takes the sessions down for the next start. When `stop` is
    /// gone it ends at once.
    pub(crate) async fn serve(mut self, mut stop: watch::Receiver<bool>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let wait = self.turn();
            self.show();
            let sleep = async {
                match wait {
                    Some(until) => {
                        tokio::time::sleep_until((self.begun + until).into()).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = stop.wait_for(|asked| *asked) => match asked {
                    Ok(_) => break,
                    // The service was dropped, and its home may be somebody else's by now.
                    Err(_) => return,
                },
                Some((answer, _)) = self.answers.1.recv() => {
                    self.answered(answer);
                    for _ in 1..BATCH {
                        let Ok((answer, _)) = self.answers.1.try_recv() else { break };
                        self.answered(answer);
                    }
                }
                readable = self.socket.readable() => match readable {
                    Ok(()) => self.receive(&mut buffer),
                    Err(e) => tracing::warn!(reason = %e, "cannot wait for datagrams"),
                },
                Ok(()) = self.pairs.changed() => self.show_another(),
                () = sleep => {}
            }
            self.admit();
            // However much comes in: others on this thread get their turn.
            tokio::task::yield_now().await;
        }
        let end = tokio::time::Instant::now() + SHUTDOWN_MAX;
        while self.in_hand > 0
            && let Ok(Some((answer, _))) = tokio::time::timeout_at(end, self.answers.1.recv()).await
        {
            self.answered(answer);
            self.turn();
        }
        self.save().await;
    }

    /// The certificate was renewed.
    fn show_another(&mut self) {
        let made = identity(&self.pairs.borrow_and_update());
        if let Err(e) = made.and_then(|identity| self.endpoint.replace_identity(identity)) {
            tracing::warn!(reason = %e, "the renewed certificate cannot be used over DTLS; the one before is shown on");
        }
    }

    /// What is there to be read, a batch of it at most.
    fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    let now = self.now();
                    let datagram = &buffer[..length];
                    let opens = self.endpoint.opens_handshake(datagram, from, now);
                    if !self.pace.holds(opens, datagram, from, now.uptime) {
                        self.books.arrived(length);
                        self.endpoint.feed(datagram, from, now);
                        self.turn();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // The network's answer to a datagram of ours that did not arrive.
                Err(e) => tracing::debug!(reason = %e, "cannot receive a datagram"),
            }
        }
    }

    /// Lets new handshakes in whose turn it is.
    fn admit(&mut self) {
        for _ in 0..HANDSHAKES_AT_A_TURN {
            let now = self.now();
            let Some((hello, from)) = self.pace.next(now.uptime) else {
                return;
            };
            let before = self.endpoint.counters();
            self.books.arrived(hello.len());
            self.endpoint.feed(&hello, from, now);
            self.turn();
            if !came_to_nothing(&before, &self.endpoint.counters()) {
                self.pace.began();
            }
        }
    }

    /// Carries until neither layer has anything more; then, when to come back.
    fn turn(&mut self) -> Option<Duration> {
        let now = self.now();
        loop {
            let endpoint = loop {
                match self.endpoint.poll(now) {
                    Output::Datagram { to, bytes } => self.send(&bytes, to),
                    Output::Record { session, bytes } => {
                        self.books.heard(session.0);
                        self.server.feed(session.0, &bytes, now.uptime);
                    }
                    Output::Event(event) => self.happened(event),
                    Output::Wait(until) => break until,
                }
            };
            self.books.silence();
            match self.server.poll(now.uptime) {
                CoapOutput::Send { session, bytes } => {
                    self.books.speaks(session);
                    if let Err(e) = self.endpoint.send(SessionKey(session), &bytes, now) {
                        tracing::debug!(session, reason = %e, "cannot send");
                    }
                }
                CoapOutput::Request(request) => self.asked(request),
                CoapOutput::Wait(until) => {
                    if let Some(session) = self
                        .leaving
                        .pop()
                        .or_else(|| self.newcomers.overdue(now.uptime))
                    {
                        self.endpoint.close(SessionKey(session), now);
                        continue;
                    }
                    let paced = self.pace.when(now.uptime);
                    let overdue = self.newcomers.when();
                    return [endpoint, until, paced, overdue]
                        .into_iter()
                        .flatten()
                        .min();
                }
            }
        }
    }

    /// UDP: what the socket does not take at once is lost, and asked for again.
    fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        self.books.left(bytes.len());
        if let Err(e) = self.socket.try_send_to(bytes, to) {
            self.books.not_sent(&e);
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Connected {
                session,
                peer,
                cid,
                resumed,
                suite,
                handshake,
            } => {
                let suite = sectag_dtls::suite_name(suite).unwrap_or("unknown");
                tracing::debug!(session = session.0, %peer, cid, ?resumed, suite, sent = handshake.sent, received = handshake.received, "DTLS session begun");
                self.books
                    .connected(session.0, peer, cid, resumed, handshake);
                self.is_new(session.0, peer);
            }
            Event::Moved { session, from, to } => {
                tracing::debug!(session = session.0, %from, %to, "DTLS session moved");
                self.books.moved(session.0, to);
            }
            Event::Closed {
                session,
                peer,
                reason,
            } => {
                let used = self.server.session_counters(session.0);
                let failed = matches!(reason, CloseReason::Failed { .. });
                self.books.closed(
                    session.0,
                    &Closing {
                        peer,
                        reason,
                        used,
                        failed,
                    },
                );
                self.server.forget(session.0);
                self.grants.forget(session.0);
                self.newcomers.gone(session.0);
            }
            Event::Refused { peer, reason } => self.books.refused(peer, &reason),
            Event::Cache { id, session } => {
                let unix_s = self.now().unix_s;
                self.resumptions.keep(id, session, unix_s);
            }
        }
    }

    fn now(&self) -> Now {
        Now {
            uptime: self.begun.elapsed(),
            unix_s: self.app.now().as_secs(),
        }
    }

    fn show(&mut self) {
        let shown = Figures {
            dtls: self.endpoint.counters(),
            coap: self.server.counters(),
            sessions: self.endpoint.sessions(),
            authorised: self.grants.sessions(),
            newcomers: self.newcomers.len(),
            waiting: self.pace.waiting(),
            turned_away: self.pace.turned_away,
            ..Figures::default()
        };
        self.books.show(shown);
    }
}

fn identity(pair: &Pair) -> Result<Identity, sectag_dtls::ConfigError> {
    Identity::from_pem(&pair.chain_pem, pair.key_pem.expose())
}

/// Whether a ClientHello fed in between made no handshake.
fn came_to_nothing(before: &Counters, after: &Counters) -> bool {
    let turned = |counters: &Counters| {
        counters.cookies_sent
            + counters.cookies_refused
            + counters.refused
            + counters.dropped_unknown
            + counters.dropped_garbage
            + counters.dropped_records
            + counters.dropped_busy
    };
    turned(before) != turned(after)
}

/// The operating system's random numbers.
struct System;

impl Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        // A key made of anything else would be worse than an end.
        getrandom::fill(bytes).expect("the operating system gave random numbers at the start");
    }
}
