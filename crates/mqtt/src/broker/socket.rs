//! Carries bytes between one stream, TLS or TCP, and its [`Link`]; decides nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::doors::{Door, Guest};
use super::{Change, Shared, WRITE_STALL_MAX};
use crate::identity::Identity;
use crate::link::{Ended, Kick, Link};
use crate::router::{Ending, LinkId};
use crate::trust::Leaf;

/// Bytes read at once: a few records.
const READ_BYTES: usize = 8 * 1024;

/// Bytes of output above which nothing more is read from this client: who asks much must also listen.
const READ_PAUSE_BYTES: usize = 256 * 1024;

pub(super) struct Client {
    pub(super) peer: SocketAddr,
    /// The listener it came through.
    pub(super) port: usize,
    pub(super) identity: Arc<Identity>,
    /// With a gate.
    pub(super) guest: Option<Guest>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// What of its first certificate counts when lists change.
    pub(super) leaf: Option<Leaf>,
    /// Of the trust under which the chain was verified.
    pub(super) anchors: [u8; 32],
    /// CONNECT must have arrived by then.
    pub(super) connect_by: Instant,
}

/// Runs the connection to its end. `handshake` is given back when CONNECT is accepted.
pub(super) async fn drive(
    stream: impl AsyncRead + AsyncWrite + Send,
    client: Client,
    shared: Arc<Shared>,
    mut changes: watch::Receiver<Change>,
    handshake: OwnedSemaphorePermit,
) {
    let mut link = Link::new(
        client.identity.clone(),
        shared.limits.link,
        assigned_id().into(),
    );
    let end_s = client.leaf.as_ref().map(|leaf| leaf.not_after_s);
    let door = Arc::new(Door::new(client.guest.clone(), end_s));
    let mut handshake = Some(handshake);
    let mut name_in_log = false;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut input = vec![0; READ_BYTES];
    let mut needs_flush = false;
    let mut stalled_at = Instant::now() + WRITE_STALL_MAX;
    let mut entered = None;
    while link.ended().is_none() {
        let wake_at = match (link.session(), link.timer_at()) {
            (None, _) => Some(client.connect_by),
            (Some(_), at) => at.map(|at| Instant::from_std(shared.started + at)),
        };
        let may_read = link.output().len() < READ_PAUSE_BYTES;
        let waits_for_socket = needs_flush || !link.output().is_empty();
        if !waits_for_socket {
            stalled_at = Instant::now() + WRITE_STALL_MAX;
        }
        tokio::select! {
            read = reader.read(&mut input), if may_read => {
                let now = shared.now();
                shared.with(|router, doors| {
                    match read {
                        Ok(count) if count > 0 => {
                            if let Some(other) = link.received(&input[..count], router, now)
                                && let Some(other) = doors.remove(other)
                            {
                                other.kick(Kick::TakenOver);
                            }
                            if entered.is_none() && let Some(id) = link.session() {
                                entered = Some(Entry { shared: shared.clone(), id });
                                doors.insert(id, door.clone());
                                // What changed until now did not find this door.
                                door.judge();
                            }
                        }
                        _ => link.closed(router, now),
                    }
                });
            }
            written = write_some(&mut writer, link.output()), if waits_for_socket => {
                let now = shared.now();
                match written {
                    Ok(Wrote::Bytes(count)) => {
                        link.output().drain(..count);
                        needs_flush = true;
                        stalled_at = Instant::now() + WRITE_STALL_MAX;
                        shared.with(|router, _| link.pump(router, now));
                    }
                    Ok(Wrote::All) => needs_flush = false,
                    Err(_) => shared.with(|router, _| link.closed(router, now)),
                }
            }
            () = door.bell.notified() => {
                let now = shared.now();
                shared.with(|router, _| match door.take_kick() {
                    Some(kick) => link.kick(kick, router, now),
                    None => link.pump(router, now),
                });
            }
            () = sleep_until(wake_at) => {
                if link.session().is_none() {
                    shared.counters.refused_connect.add(1);
                    tracing::info!(peer = %client.peer, identity = %client.identity.name, reason = "no CONNECT in time", "MQTT connection refused");
                    return;
                }
                let now = shared.now();
                shared.with(|router, _| link.timer(router, now));
            }
            () = tokio::time::sleep_until(stalled_at), if waits_for_socket => {
                tracing::info!(peer = %client.peer, identity = %client.identity.name, reason = "takes no bytes", "MQTT connection given up");
                let now = shared.now();
                shared.with(|router, _| link.closed(router, now));
            }
            _ = changes.changed() => {
                let kick = match *changes.borrow_and_update() {
                    Change::Stop => Some(Kick::Stopping),
                    Change::Trust(_) | Change::None => {
                        match shared.ports[client.port].still_accepts(&client) {
                            false => Some(Kick::TrustWithdrawn),
                            true => client.guest.as_ref().and_then(Guest::judged),
                        }
                    }
                };
                if let Some(kick) = kick {
                    let now = shared.now();
                    shared.with(|router, _| link.kick(kick, router, now));
                }
            }
        }
        if link.session().is_some() && handshake.take().is_some() && !name_in_log {
            name_in_log = true;
            if let Some(guest) = &client.guest {
                guest.gate.connected(&guest.certificate);
            }
            tracing::info!(peer = %client.peer, identity = %client.identity.name, client_id = link.client_id(), "MQTT client connected");
        }
    }
    drop(entered);
    report(&client, &link, &shared);
    let goodbye = async {
        writer.write_all(link.output()).await?;
        writer.shutdown().await
    };
    let _: Result<io::Result<()>, _> =
        tokio::time::timeout(super::SHUTDOWN_DEADLINE / 2, goodbye).await;
    if let (Some(Ended::Kicked(Kick::TakenOver)), Some(guest)) = (link.ended(), &client.guest)
        && answers(&mut reader).await
    {
        guest.gate.displaced(&guest.certificate);
    }
}

/// Does the client that lost its session close in an orderly way, or say something? A connection that died with its network
/// says nothing, and one whose owner restarted is reset.
async fn answers(reader: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut some = [0; 64];
    match tokio::time::timeout(super::SHUTDOWN_DEADLINE / 2, reader.read(&mut some)).await {
        Ok(Ok(_)) => true,
        // The end of TCP without the goodbye of TLS.
        Ok(Err(error)) => error.kind() == io::ErrorKind::UnexpectedEof,
        Err(_) => false,
    }
}

fn report(client: &Client, link: &Link, shared: &Shared) {
    let (peer, identity, client_id) = (client.peer, &client.identity.name, link.client_id());
    match link.ended() {
        Some(Ended::Refused(reason)) => {
            shared.counters.refused_connect.add(1);
            tracing::info!(%peer, %identity, client_id, reason, "MQTT connection refused");
        }
        Some(Ended::Broke(reason)) => {
            tracing::info!(%peer, %identity, client_id, reason, "MQTT client disconnected by the broker");
        }
        Some(Ended::Kicked(Kick::TrustWithdrawn)) => {
            let reason = "its certificate is trusted no more";
            tracing::warn!(%peer, %identity, client_id, reason, "MQTT client disconnected by the broker");
        }
        Some(Ended::Kicked(Kick::Expired)) => {
            let reason = "its certificate has expired";
            tracing::info!(%peer, %identity, client_id, reason, "MQTT client disconnected by the broker");
        }
        Some(Ended::Kicked(Kick::TermsChanged)) => {
            let reason = "its topics have changed";
            tracing::info!(%peer, %identity, client_id, reason, "MQTT client disconnected by the broker");
        }
        Some(Ended::Kicked(Kick::TakenOver)) => {
            let reason = "another connection took the session";
            tracing::info!(%peer, %identity, client_id, reason, "MQTT client disconnected by the broker");
        }
        _ => tracing::debug!(%peer, %identity, client_id, "MQTT client disconnected"),
    }
}

/// Takes the link out of the broker however its task ends, a panic or an abort included.
struct Entry {
    shared: Arc<Shared>,
    id: LinkId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.with(|router, doors| {
            doors.remove(self.id);
            // Does nothing after an orderly end.
            router.detach(self.id, Ending::Lost, now);
        });
    }
}

enum Wrote {
    /// So many bytes are in the stream, a flush is due.
    Bytes(usize),
    /// Nothing is left inside the stream.
    All,
}

/// One step of output; may be cancelled and called again.
async fn write_some(writer: &mut WriteHalf<impl AsyncWrite>, output: &[u8]) -> io::Result<Wrote> {
    if output.is_empty() {
        writer.flush().await?;
        return Ok(Wrote::All);
    }
    match writer.write(output).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(Wrote::Bytes(count)),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A client id for a client that sent none; unique in this process, and sessions of other identities are out of reach anyway.
fn assigned_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("auto-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
