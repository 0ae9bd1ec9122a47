//! A flood of requests that nobody vouches for, over both roads: the service, in a process of its own, keeps its memory.
#![cfg(all(feature = "coap", target_os = "linux"))]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_coap::{ClientRequest, Method};
use sectag_server::{Config, Home, Service, system_clock};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use support::Town;
use support::coap::{CoapSession, config};
use support::device::FakeDevice;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

const HOME: &str = "FLOOD_TEST_HOME";
/// Connections at the same time, and sessions: each sends as much as it may.
const AT_ONCE: usize = 40;
/// Rounds until everything that is kept for speed is there.
const WARM: usize = 4;
const ROUNDS: usize = 12;
/// What the allocator's moods are allowed. Were the bodies of the rounds kept, there would be 13 MB more.
const GROWTH_MAX: u64 = 3 << 20;

/// Not a test: the service that is flooded.
#[test]
fn a_service_of_its_own() {
    let Ok(home) = std::env::var(HOME) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let home = Home::open(&PathBuf::from(home), system_clock()()).unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(home);
        (config.owner, config.loopback, config.device) = (free, free, free);
        (config.mqtt, config.coap) = (free, free);
        let _service = Service::start(config).await.unwrap();
        println!("listening");
        let asked = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
        });
        asked.await.unwrap();
    });
}

/// Dropped, it is killed.
struct Flooded {
    child: Child,
    device: SocketAddr,
    coap: SocketAddr,
}

impl Drop for Flooded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Flooded {
    fn start(town: &Town) -> Self {
        let home = town.dir.path().join("home");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["a_service_of_its_own", "--exact", "--nocapture"])
            .env(HOME, &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it did not start");
        }
        let run = std::fs::read(home.join("run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
        let at = |name: &str| run["listeners"][name].as_str().unwrap().parse().unwrap();
        Self {
            device: at("device"),
            coap: at("coap"),
            child,
        }
    }

    fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    /// Reports as long as they may be, under tokens of devices that nobody claimed; every other one breaks off.
    async fn over_https(&self, town: &Town) {
        let mut streams = Vec::new();
        for _ in 0..AT_ONCE {
            streams.push(
                town.device_stream_at(self.device, rustls::DEFAULT_VERSIONS)
                    .await,
            );
        }
        let jwt = FakeDevice::new(9).jwt(system_clock()());
        let head = format!(
            "POST /v1/provisioning/response HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cbor\r\nAuthorization: Bearer {jwt}\r\nContent-Length: 48000\r\n\r\n"
        );
        for (at, stream) in streams.iter_mut().enumerate() {
            stream.write_all(head.as_bytes()).await.unwrap();
            let bytes = if at % 2 == 0 { 48_000 } else { 47_000 };
            stream.write_all(&vec![0x61; bytes]).await.unwrap();
        }
        for (at, mut stream) in streams.into_iter().enumerate() {
            if at % 2 == 0 {
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 401"), "{at}");
            }
        }
    }

    /// Sessions that never say who they are, and send what they can.
    async fn over_coap(&self, town: &Town) {
        let mut sessions = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (at, clock, config) = (self.coap, town.clock.clone(), config(town));
            sessions.spawn(async move {
                let open = CoapSession::try_open_at(at, clock, &config).await;
                let mut session = open.unwrap();
                for _ in 0..2 {
                    let body = ClientRequest::new(Method::POST, &["p", "rsp"])
                        .payload(60, vec![0x61; 40_000]);
                    assert!(!session.ask(body).await.code.is_success());
                }
                session.close().await;
            });
        }
        while let Some(done) = sessions.join_next().await {
            done.unwrap();
        }
    }
}

#[tokio::test]
async fn memory_stays_under_a_flood_that_nobody_vouches_for() {
    let mut town = Town::start().await;
    town.down().await;
    let flooded = Flooded::start(&town);
    let mut resident = Vec::new();
    for _ in 0..ROUNDS {
        flooded.over_https(&town).await;
        flooded.over_coap(&town).await;
        resident.push(flooded.resident_bytes());
    }
    let (warm, after) = resident.split_at(WARM);
    let (before, most) = (warm.iter().max().unwrap(), after.iter().max().unwrap());
    assert!(
        *most <= before + GROWTH_MAX,
        "bytes after each round: {resident:?}"
    );
}
