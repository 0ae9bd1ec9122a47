//! The nRF91 modem takes TLS records of at most 2048 bytes: no record from the broker is larger, in either TLS version.
#![allow(clippy::unwrap_used)]

mod town;

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use sectag_mqtt::{Broker, BrokerConfig, Listener, Qos, TLS_RECORD_BYTES_MAX, Version};
use town::{PATIENCE, Town, any_port, options, server_only};

/// Notes the length of each record that is read through it.
struct Watched {
    tcp: TcpStream,
    seen: Vec<u8>,
}

impl io::Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tcp.read(buffer)?;
        self.seen.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl io::Write for Watched {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Lengths of the complete records, header included.
fn record_lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, ..] = bytes {
        let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        if bytes.len() < length {
            break;
        }
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

#[tokio::test]
async fn no_record_is_larger_than_the_modem_takes() {
    let town = Town::new("Town");
    // Both kinds of TLS listener: a modem may come without a certificate as well.
    let listeners = [
        Listener::tls(any_port(), town.trust()),
        Listener::tls(any_port(), server_only(&town.server())),
    ];
    let broker = Broker::start(BrokerConfig::new(listeners)).await.unwrap();
    let papers = town.device("dev-1");
    let (sender, _none) = town
        .connect(&broker, &papers, options(Version::V311, "sender"))
        .await;
    sender
        .publish("dev-1/x", vec![b'x'; 50_000], Qos::AtLeastOnce, true)
        .await
        .unwrap();
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    let addresses = broker.local_addrs().iter().map(|bound| bound.address);
    for (address, version) in addresses.flat_map(|at| versions.map(|version| (at, version))) {
        let config = Arc::new(town.tls_version(&papers, version));
        let watched = tokio::task::spawn_blocking(move || {
            let name = "localhost".try_into().unwrap();
            let session = rustls::ClientConnection::new(config, name).unwrap();
            let tcp = TcpStream::connect(address).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            let socket = Watched {
                tcp,
                seen: Vec::new(),
            };
            let mut stream = rustls::StreamOwned::new(session, socket);
            stream
                .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")
                .unwrap();
            stream
                .write_all(b"\x82\x0c\x00\x01\x00\x07dev-1/x\x00")
                .unwrap();
            let mut received = vec![0; 50_000];
            stream.read_exact(&mut received).unwrap();
            stream.sock.seen
        })
        .await
        .unwrap();
        let lengths = record_lengths(&watched);
        assert!(lengths.len() > 20, "{lengths:?}");
        let largest = lengths.iter().max().unwrap();
        assert!(*largest <= TLS_RECORD_BYTES_MAX, "{lengths:?}");
    }
}
