//! The nRF91 modem takes TLS records of at most 2048 bytes: no record from the device door is larger, in either TLS
//! version.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_server::device_api::RECORD_BYTES_MAX;
use serde_json::json;
use support::Town;
use support::device::FakeDevice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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

/// Passes one connection on to `to`, and gives what came back.
async fn watch(listener: TcpListener, to: std::net::SocketAddr) -> Vec<u8> {
    let (client, _) = listener.accept().await.unwrap();
    let server = TcpStream::connect(to).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..count]);
        if to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    up.abort();
    seen
}

#[tokio::test]
async fn no_record_is_larger_than_the_modem_takes() {
    let town = Town::start().await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    for _ in 1..=5 {
        let request = json!({"config": {"large": "A".repeat(1900)}});
        town.queue(&device, request).await;
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap();
        let watched = tokio::spawn(watch(listener, town.service().addresses().device));
        let jwt = device.jwt(town.now());
        town.log.forbid(&jwt);
        let request = format!(
            "GET /v1/provisioning/commands?after=&rxMaxSize=65536&txMaxSize=65536 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {jwt}\r\n\r\n"
        );
        let mut stream = town.device_stream_at(door, &[version]).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        drop(stream);
        assert!(answer.len() > 4 * RECORD_BYTES_MAX, "{}", answer.len());
        let lengths = record_lengths(&watched.await.unwrap());
        let largest = lengths.iter().max().unwrap();
        assert!(*largest <= RECORD_BYTES_MAX, "{lengths:?}");
        // And not much smaller: each record costs a modem a step.
        assert!(*largest > RECORD_BYTES_MAX - 32, "{lengths:?}");
    }
}
