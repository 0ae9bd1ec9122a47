//! Stands before the device API and counts TLS handshakes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Its threads end with the test's process.
pub struct Tap {
    pub port: String,
    handshakes: Arc<AtomicUsize>,
}

impl Tap {
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let counted = handshakes.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, counted) = (TcpStream::connect(server).unwrap(), counted.clone());
                std::thread::spawn(move || pass(client, server, &counted));
            }
        });
        Self { port, handshakes }
    }

    /// Connections that began with a ClientHello (RFC 8446 §4, §5.1) since the last look.
    pub fn handshakes(&self) -> usize {
        self.handshakes.swap(0, Ordering::SeqCst)
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, handshakes: &AtomicUsize) {
    let mut record = [0; 6];
    if client.read_exact(&mut record).is_err() {
        return;
    }
    if let [22, 3, _, _, _, 1] = record {
        handshakes.fetch_add(1, Ordering::SeqCst);
    }
    server.write_all(&record).unwrap();
    let (mut back, mut answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(std::net::Shutdown::Write);
}
