//! The door: takes TCP connections, gives each a task, and waits for all at the end; beside it the looks at what expired.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use sectag_pki::topics::Rules;
use sectag_pki::{Certificate, PkiError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::doors::Guest;
use super::{Change, SHUTDOWN_DEADLINE, Shared, socket};
use crate::gate::{Admission, ClientCertificate, Verdict};
use crate::identity::Identity;
use crate::tls_words;
use crate::trust::{Leaf, Trust};

/// How often expired sessions and messages are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// How often the calendar is looked at: a session ends within two seconds of its certificate.
const CALENDAR_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after a failed accept (out of file descriptors): without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a refused client may take to read the alert that tells it why. Closing at once would reset the connection
/// and the client could lose the alert.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);

pub(super) async fn run(listener: TcpListener, port: usize, shared: Arc<Shared>) {
    let mut changes = shared.changes.subscribe();
    let mut tasks = JoinSet::new();
    let mut open = shared.open.subscribe();
    tokio::select! {
        // An error means that the broker is gone, and the loop ends by the other.
        _ = open.wait_for(|open| *open) => {}
        () = stopped(&mut changes) => return,
    }
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    let slots = (
                        shared.connections.clone().try_acquire_owned(),
                        shared.handshakes.clone().try_acquire_owned(),
                    );
                    let (Ok(connection), Ok(handshake)) = slots else {
                        shared.counters.refused_busy.add(1);
                        tracing::warn!(%peer, "MQTT connection refused: too many connections or handshakes");
                        continue;
                    };
                    let shared = shared.clone();
                    tasks.spawn(async move {
                        serve(tcp, port, shared, peer, handshake).await;
                        drop(connection);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept MQTT connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            () = stopped(&mut changes) => break,
        }
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, all).await;
}

/// Forgets expired sessions and messages now and then, and ends the sessions of expired certificates, until the broker stops.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let mut changes = shared.changes.subscribe();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calendar = tokio::time::interval(CALENDAR_INTERVAL);
    calendar.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sweep.tick() => {
                let now = shared.now();
                shared.with(|router, _| router.sweep(now));
            }
            _ = calendar.tick() => shared.end_expired(UnixTime::now()),
            () = stopped(&mut changes) => break,
        }
    }
}

async fn serve(
    tcp: TcpStream,
    port: usize,
    shared: Arc<Shared>,
    peer: SocketAddr,
    handshake: OwnedSemaphorePermit,
) {
    let connect_by = Instant::now() + shared.limits.handshake_deadline;
    let _ = tcp.set_nodelay(true);
    // Subscribed before trust is read, so that a change in between is seen by the connection's loop.
    let changes = shared.changes.subscribe();
    let Some(trust) = &shared.ports[port].trust else {
        let client = socket::Client {
            peer,
            port,
            identity: shared.ports[port].anonymous.clone(),
            guest: None,
            chain: Vec::new(),
            leaf: None,
            anchors: [0; 32],
            connect_by,
        };
        return socket::drive(tcp, client, shared, changes, handshake).await;
    };
    let refuse_tls = |reason: &str| {
        shared.counters.refused_tls.add(1);
        tracing::info!(%peer, reason, "MQTT connection refused in the TLS handshake");
    };
    let trust = trust.load_full();
    let mut stop = changes.clone();
    let handshaken = tokio::select! {
        handshaken = tokio::time::timeout_at(connect_by, handshaken(tcp, &trust)) => handshaken,
        () = stopped(&mut stop) => return,
    };
    let stream = match handshaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(reason)) => return refuse_tls(&reason),
        Err(_) => return refuse_tls("not finished in time"),
    };
    let chain = {
        let session = stream.get_ref().1;
        let chain = session.peer_certificates().unwrap_or_default();
        let chain: Vec<_> = chain
            .iter()
            .map(|found| found.clone().into_owned())
            .collect();
        // A resumed TLS session skips the certificate check, and the certificate may have expired since.
        if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
            && let Err(error) = shared.ports[port].accepts(&chain)
        {
            return refuse_tls(&format!("resumed session: {error}"));
        }
        chain
    };
    let refuse_connect = |reason: &str| {
        shared.counters.refused_connect.add(1);
        tracing::info!(%peer, reason, "MQTT connection refused: unusable identity");
    };
    let (identity, guest) = match chain.first() {
        Some(leaf) => match let_in(leaf, &trust, &shared.ports[port].rules) {
            Ok(let_in) => let_in,
            Err(reason) => return refuse_connect(&reason),
        },
        None if trust.is_mutual() => return refuse_tls("the client sent no certificate"),
        None => (shared.ports[port].anonymous.clone(), None),
    };
    let client = socket::Client {
        peer,
        port,
        identity,
        guest,
        leaf: chain.first().and_then(|leaf| leaf_of(leaf)),
        anchors: trust.anchors,
        chain,
        connect_by,
    };
    socket::drive(stream, client, shared, changes, handshake).await;
}

fn leaf_of(der: &[u8]) -> Option<Leaf> {
    let identity = sectag_pki::identity(der).ok()?;
    let certificate = Certificate::from_der(der).ok()?;
    Some(Leaf {
        issuer: identity.issuer,
        serial: certificate.serial_hex,
        not_after_s: certificate.not_after_s,
    })
}

/// Who it is, and on which terms it is let in. The gate was asked inside the handshake; what it said there may have changed.
fn let_in(
    leaf: &[u8],
    trust: &Trust,
    rules: &Arc<Rules>,
) -> Result<(Arc<Identity>, Option<Guest>), String> {
    let words = |error: PkiError| error.to_string();
    let guest = match &trust.gate {
        None => None,
        Some(gate) => {
            let certificate = Arc::new(ClientCertificate::read(leaf).map_err(words)?);
            let terms = match gate.admit(&certificate) {
                Verdict::Admit(terms) => terms,
                Verdict::Revoked => return Err("its certificate was revoked".into()),
                Verdict::Refuse { reason } => return Err(reason.into()),
            };
            Some(Guest {
                certificate,
                terms,
                gate: gate.clone(),
            })
        }
    };
    let anybody = Admission::default();
    let terms = guest.as_ref().map_or(&anybody, |guest| &guest.terms);
    let identity = Identity::admitted(leaf, rules.clone(), terms).map_err(words)?;
    Ok((Arc::new(identity), guest))
}

async fn handshaken(tcp: TcpStream, trust: &Trust) -> Result<TlsStream<TcpStream>, String> {
    let acceptor = TlsAcceptor::from(trust.config.clone());
    match acceptor.accept(tcp).into_fallible().await {
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
