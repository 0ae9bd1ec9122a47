//! A part of the service that ends by an error of its own: it is named, and the rest can be ended and started again.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used)]

use sectag_proto::Timestamp;
use sectag_server::{Config, Home, Service};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest wait for anything that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// What asks for the time: the first because of a datagram, the second once a second.
const ASK_FOR_THE_TIME: [&str; 2] = ["the device API over CoAP", "the gate of the MQTT broker"];

/// A service whose calendar panics once when it is told to.
async fn start(home: &std::path::Path, panics: &Arc<AtomicBool>) -> Service {
    let now = Timestamp::from_secs(1_800_000_000);
    let mut config = Config::new(Home::open(home, now).unwrap());
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    (config.owner, config.loopback, config.device) = (free, free, free);
    (config.mqtt, config.coap) = (free, free);
    let panics = panics.clone();
    config.clock = Arc::new(move || {
        assert!(!panics.swap(false, Ordering::Relaxed), "on purpose");
        now
    });
    Service::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_panics_is_named_and_the_service_ends_and_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let panics = Arc::new(AtomicBool::new(false));
    let mut service = start(&home, &panics).await;
    let coap = service.addresses().coap.unwrap();
    panics.store(true, Ordering::Relaxed);
    let device = UdpSocket::bind("127.0.0.1:0").unwrap();
    device.send_to(b"hello", coap).unwrap();
    let part = tokio::time::timeout(PATIENCE, service.failed()).await;
    let part = part.unwrap();
    assert!(ASK_FOR_THE_TIME.contains(&part), "{part}");
    tokio::time::timeout(PATIENCE, service.shutdown())
        .await
        .unwrap();
    let mut service = start(&home, &panics).await;
    // Nothing is the matter with this one.
    let none = tokio::time::timeout(Duration::from_millis(50), service.failed()).await;
    assert!(none.is_err(), "{none:?}");
    service.shutdown().await;
}
