//! A wire between client and broker that counts connections and keeps what the client sent.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// As much as tells CONNECT from ClientHello, and shows a password that should not be there.
const KEPT_BYTES_MAX: usize = 4096;

/// What one connection's client sent.
type Heard = Arc<Mutex<Vec<u8>>>;

/// Forwards `127.0.0.1:port` to a broker.
pub(crate) struct Relay {
    pub(crate) port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    over: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn to(broker_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (notes, end) = (heard.clone(), over.clone());
        let task = thread::spawn(move || {
            for client in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let kept = Heard::default();
                lock(&notes).push(kept.clone());
                let address = SocketAddr::from(([127, 0, 0, 1], broker_port));
                let Ok(broker) = TcpStream::connect(address) else {
                    continue;
                };
                let (from, to) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
                thread::spawn(move || {
                    carry(from, to, |bytes| {
                        let mut kept = lock(&kept);
                        let room = KEPT_BYTES_MAX - kept.len();
                        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    });
                });
                thread::spawn(move || carry(broker, client, |_| {}));
            }
        });
        Self {
            port,
            heard,
            over,
            task: Some(task),
        }
    }

    /// What was sent on each connection since the last look.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        let heard = std::mem::take(&mut *lock(&self.heard));
        heard.iter().map(|kept| lock(kept).clone()).collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(task) = self.task.take() {
            let _ = task.join();
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until one side ends; then the other hears of it.
fn carry(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        note(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A plaintext CONNECT (MQTT 3.1.1 §3.1.1) begins with its packet type.
pub(crate) fn is_plaintext_connect(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x10) || bytes.windows(4).any(|window| window == b"MQTT")
}

/// A ClientHello begins with record type handshake and version 3 (RFC 8446 §5.1).
pub(crate) fn is_client_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, ..])
}
