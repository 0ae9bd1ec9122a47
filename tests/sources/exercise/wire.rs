//! Somebody on the way between client and broker: listens, or alters one bit behind the handshake.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A relay on a port of its own. It ends with the test's process.
pub struct Wire {
    pub port: u16,
    carried: Arc<Mutex<Vec<u8>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub fn before(port: u16) -> Self {
        Self::new(port, false)
    }

    /// Alters the last byte of what the client sends after the handshake (its first flights are untouched).
    pub fn altering(port: u16) -> Self {
        Self::new(port, true)
    }

    fn new(broker: u16, alter: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let carried = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&carried);
        let open = Arc::new(Mutex::new(Vec::new()));
        let opened = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", broker)).unwrap();
                opened.lock().unwrap().push(client.try_clone().unwrap());
                let ways = [
                    (
                        client.try_clone().unwrap(),
                        server.try_clone().unwrap(),
                        alter,
                    ),
                    (server, client, false),
                ];
                for (from, to, alter) in ways {
                    let kept = Arc::clone(&kept);
                    std::thread::spawn(move || carry(from, to, alter, &kept));
                }
            }
        });
        Self {
            port,
            carried,
            open,
        }
    }

    /// Ends every connection there is; new ones are let through.
    pub fn cut(&self) {
        for connection in self.open.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Whether this text went by, in either direction.
    pub fn carried(&self, text: &str) -> bool {
        let bytes = self.carried.lock().unwrap();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, alter: bool, kept: &Mutex<Vec<u8>>) {
    /// ClientHello; then ChangeCipherSpec and Finished.
    const HANDSHAKE_FLIGHTS: usize = 2;
    let mut buffer = [0; 16 * 1024];
    let mut flights = 0;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        kept.lock().unwrap().extend_from_slice(&buffer[..length]);
        flights += 1;
        if alter && flights > HANDSHAKE_FLIGHTS {
            buffer[length - 1] ^= 1;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
