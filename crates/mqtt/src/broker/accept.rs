//! The door: takes TCP connections, gives each a task, sweeps expired sessions, and waits for all at the end.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Change, SHUTDOWN_DEADLINE, Shared, socket};
use crate::identity::Identity;
use crate::tls_words;

/// How often expired sessions and messages are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Pause after a failed accept (out of file descriptors): without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a refused client may take to read the alert that tells it why. Closing at once would reset the connection
/// and the client could lose the alert.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);

pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let connections = Arc::new(Semaphore::new(shared.limits.connections_max));
    let handshakes = Arc::new(Semaphore::new(shared.limits.handshakes_max));
    let mut changes = shared.changes.subscribe();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    let slots = (
                        connections.clone().try_acquire_owned(),
                        handshakes.clone().try_acquire_owned(),
                    );
                    let (Ok(connection), Ok(handshake)) = slots else {
                        shared.counters.refused_busy.add(1);
                        tracing::warn!(%peer, "MQTT connection refused: too many connections or handshakes");
                        continue;
                    };
                    let shared = shared.clone();
                    tasks.spawn(async move {
                        serve(tcp, shared, peer, handshake).await;
                        drop(connection);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept MQTT connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = sweep.tick() => {
                let now = shared.now();
                shared.with(|router, _| router.sweep(now));
            }
            Some(_) = tasks.join_next() => {}
            () = stopped(&mut changes) => break,
        }
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, all).await;
}

async fn serve(
    tcp: TcpStream,
    shared: Arc<Shared>,
    peer: std::net::SocketAddr,
    handshake: tokio::sync::OwnedSemaphorePermit,
) {
    let deadline = Instant::now() + shared.limits.handshake_deadline;
    let _ = tcp.set_nodelay(true);
    // Subscribed before trust is read, so that a change in between is seen by the connection's loop.
    let changes = shared.changes.subscribe();
    let refuse_tls = |reason: &str| {
        shared.counters.refused_tls.add(1);
        tracing::info!(%peer, reason, "MQTT connection refused in the TLS handshake");
    };
    let mut stop = changes.clone();
    let handshaken = tokio::select! {
        handshaken = tokio::time::timeout_at(deadline, handshaken(tcp, &shared)) => handshaken,
        () = stopped(&mut stop) => return,
    };
    let stream = match handshaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(reason)) => return refuse_tls(&reason),
        Err(_) => return refuse_tls("not finished in time"),
    };
    let (chain, identity) = {
        let session = stream.get_ref().1;
        let chain: Vec<_> = session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        // A resumed TLS session skips the certificate check, and the certificate may have expired since.
        if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
            && let Err(error) = shared.trust.load().accepts(&chain, UnixTime::now())
        {
            return refuse_tls(&format!("resumed session: {error}"));
        }
        let identity = chain.first().map(|leaf| Identity::from_certificate(leaf));
        (chain, identity)
    };
    let identity = match identity {
        Some(Ok(identity)) => Arc::new(identity),
        Some(Err(error)) => {
            shared.counters.refused_connect.add(1);
            tracing::info!(%peer, reason = %error, "MQTT connection refused: unusable identity");
            return;
        }
        None => return refuse_tls("the client sent no certificate"),
    };
    let client = socket::Client {
        peer,
        identity,
        chain,
        connect_by: deadline,
    };
    socket::drive(stream, client, shared, changes, handshake).await;
}

async fn handshaken(tcp: TcpStream, shared: &Shared) -> Result<TlsStream<TcpStream>, String> {
    let config = shared.trust.load().config.clone();
    match TlsAcceptor::from(config).accept(tcp).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, tcp)) => {
            tokio::spawn(linger(tcp));
            Err(tls_words::broker_side(&error))
        }
    }
}

async fn stopped(changes: &mut watch::Receiver<Change>) {
    // An error means that the broker's handle and state are gone: the same.
    let _ = changes.wait_for(|change| *change == Change::Stop).await;
}

/// Reads and forgets what the refused client still sends, so that it can read our alert.
async fn linger(mut tcp: TcpStream) {
    let drain = async {
        tcp.shutdown().await?;
        let mut sink = [0; 1024];
        while tcp.read(&mut sink).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    let _ = tokio::time::timeout(REFUSAL_LINGER, drain).await;
}
