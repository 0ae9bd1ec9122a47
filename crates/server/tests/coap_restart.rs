//! DTLS sessions over a restart: in good order they go on as if nothing had been; after a crash none is loaded, and devices
//! resume. Every crash point of the file between two lives is passed by a service in a process of its own.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use sectag_coap::{ClientResponse, Code};
use sectag_keep::crash::{self, POINTS};
use sectag_server::{Config, Home, Service, system_clock};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;
use support::coap::{CoapSession, config};
use support::device::FakeDevice;
use support::{Road, Town};

const HOME: &str = "COAP_TEST_HOME";
const ADDRESS: &str = "COAP_TEST_ADDRESS";
const POINT: &str = "COAP_TEST_POINT";
const SIGKILL: i32 = 9;
/// The first answer after a restart is there within this.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn after_a_restart_in_good_order_sessions_go_on_without_a_handshake() {
    let mut town = Town::on(Road::Coap).await;
    let mut sessions = Vec::new();
    for n in 1..=20 {
        let device = FakeDevice::new(n);
        town.claim(&device).await;
        let mut session = CoapSession::open(&town).await;
        session.authenticate(&device.jwt(town.now())).await;
        sessions.push(session);
    }
    for round in 1..=3 {
        town.down().await;
        let file = town.dir.path().join("home/coap-sessions");
        assert!(file.exists());
        town.up().await;
        assert!(!file.exists(), "deleted before anything was loaded");
        for session in &mut sessions {
            if round == 2 {
                // The address moved while nobody listened.
                session.moves().await;
            }
            let answer = tokio::time::timeout(SOON, session.fetch("after=")).await;
            assert_eq!(answer.unwrap().code, Code::CONTENT, "still authorised");
            assert_eq!(session.handshakes(), 1);
        }
    }
    let status = town.owner("GET", "/v1/status", None).await.json();
    assert_eq!(status["coap"]["takenOver"], 20, "{status:#}");
    assert_eq!(status["coap"]["handshakes"]["full"], 0, "{status:#}");
}

#[tokio::test]
async fn a_token_keeps_its_grace_over_a_restart() {
    let mut town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let jwt = device.jwt(town.now());
    town.log.forbid(&jwt);
    let mut session = CoapSession::open(&town).await;
    session.authenticate(&jwt).await;
    town.down().await;
    town.wait(Duration::from_secs(650));
    town.up().await;
    let mut late = CoapSession::open(&town).await;
    assert_eq!(late.authenticate(&jwt).await.code, Code::CREATED);
    assert_eq!(late.fetch("after=").await.code, Code::UNAUTHORIZED);
    assert_eq!(session.fetch("after=").await.code, Code::CONTENT);
}

#[tokio::test]
async fn a_file_that_does_not_open_is_gone_with_one_line_and_devices_come_back() {
    let mut town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let mut session = CoapSession::open(&town).await;
    session.authenticate(&device.jwt(town.now())).await;
    let resumption = session.dtls.resumption().unwrap();
    town.down().await;
    let file = town.dir.path().join("home/coap-sessions");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let from = town.log.len();
    town.up().await;
    assert!(!file.exists());
    let warned: Vec<String> = town.log.since(from);
    let warned: Vec<_> = warned.iter().filter(|l| l.starts_with("WARN")).collect();
    assert_eq!(warned.len(), 1, "{warned:#?}");
    assert!(warned[0].contains("not taken over") && warned[0].contains("damaged"));
    let mut again = CoapSession::resume(&town, resumption).await;
    assert!(matches!(again.connected(), (Some(_), _)));
    let jwt = device.jwt(town.now());
    assert_eq!(again.authenticate(&jwt).await.code, Code::CREATED);
}

#[tokio::test]
async fn a_service_that_is_dropped_leaves_nothing_to_load() {
    let mut town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    let mut session = CoapSession::open(&town).await;
    session.authenticate(&device.jwt(town.now())).await;
    drop(town.service.take());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!town.dir.path().join("home/coap-sessions").exists());
}

#[tokio::test]
async fn each_crash_point_leaves_all_sessions_or_none_and_never_twice() {
    let (town, device) = at_rest().await;
    let points = POINTS.iter().map(|(name, _)| *name);
    for point in points.filter(|name| name.starts_with("coap.")) {
        let file = town.dir.path().join("home/coap-sessions");
        let mut up = Up::start(&town, None).unwrap();
        let mut session = up.authorised(&town, &device).await;
        // The end is cut, or the start after it.
        let at_the_end = point.ends_with("-write");
        let cut = if at_the_end {
            up.kill();
            up = Up::start(&town, Some(point)).unwrap();
            session = up.authorised(&town, &device).await;
            up.stop()
        } else {
            assert!(up.stop().success());
            Up::start(&town, Some(point)).err().unwrap()
        };
        assert_eq!(cut.signal(), Some(SIGKILL), "{point}");
        let saved = matches!(
            point,
            "coap.sessions.after-write" | "coap.sessions.before-delete"
        );
        assert_eq!(file.exists(), saved, "{point}");
        let up = Up::start(&town, None).unwrap();
        assert!(!file.exists(), "{point}");
        let answer = answer(&mut session).await;
        assert_eq!(answer.is_some(), saved, "{point}");
        // Whatever was lost: a ticket brings the device back.
        let mut back = up.resumed(&town, &session).await;
        assert!(matches!(back.connected(), (Some(_), _)), "{point}");
        let jwt = device.jwt(system_clock()());
        assert_eq!(back.authenticate(&jwt).await.code, Code::CREATED);
        assert_eq!(back.fetch("after=").await.code, Code::CONTENT);
    }
}

#[tokio::test]
async fn after_a_kill_nothing_is_loaded_and_all_resume() {
    let (town, device) = at_rest().await;
    let mut up = Up::start(&town, None).unwrap();
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(up.authorised(&town, &device).await);
    }
    up.kill();
    assert!(!town.dir.path().join("home/coap-sessions").exists());
    let up = Up::start(&town, None).unwrap();
    assert!(answer(&mut sessions[0]).await.is_none());
    for session in &sessions {
        let mut back = up.resumed(&town, session).await;
        assert!(matches!(back.connected(), (Some(_), _)));
        assert_eq!(back.fetch("after=").await.code, Code::UNAUTHORIZED);
        let jwt = device.jwt(system_clock()());
        assert_eq!(back.authenticate(&jwt).await.code, Code::CREATED);
    }
}

/// Not a test: the service that the others start, stop and kill.
#[test]
fn a_service_of_its_own() {
    let Ok(home) = std::env::var(HOME) else {
        return;
    };
    if let Ok(point) = std::env::var(POINT) {
        crash::arm(&point).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let home = Home::open(&PathBuf::from(home), system_clock()()).unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(home);
        (config.owner, config.loopback, config.device, config.mqtt) = (free, free, free, free);
        config.coap = std::env::var(ADDRESS).unwrap().parse().unwrap();
        let service = Service::start(config).await.unwrap();
        println!("listening");
        let asked = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
        });
        asked.await.unwrap();
        service.shutdown().await;
    });
}

/// A home with a claimed device whose key is pinned, and nobody who serves it.
async fn at_rest() -> (Town, FakeDevice) {
    let mut town = Town::on(Road::Coap).await;
    let device = FakeDevice::new(1);
    town.claim(&device).await;
    assert_eq!(town.fetch(&device, "").await.status, 204);
    town.down().await;
    (town, device)
}

/// What the session hears, if it hears anything soon.
async fn answer(session: &mut CoapSession) -> Option<ClientResponse> {
    tokio::time::timeout(SOON, session.fetch("after="))
        .await
        .ok()
}

/// A service in a process of its own. Dropped, it is killed.
struct Up {
    child: Child,
    _said: BufReader<ChildStdout>,
}

impl Up {
    fn start(town: &Town, armed: Option<&str>) -> Result<Self, ExitStatus> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["a_service_of_its_own", "--exact", "--nocapture"])
            .env(HOME, town.dir.path().join("home"))
            .env(ADDRESS, town.coap.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(point) = armed {
            command.env(POINT, point);
        }
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            if said.read_line(&mut line).unwrap() == 0 {
                return Err(child.wait().unwrap());
            }
        }
        Ok(Self { child, _said: said })
    }

    async fn authorised(&self, town: &Town, device: &FakeDevice) -> CoapSession {
        let config = config(town);
        let open = CoapSession::try_open_at(town.coap, town.clock.clone(), &config);
        let mut session = open.await.unwrap();
        let jwt = device.jwt(system_clock()());
        assert_eq!(session.authenticate(&jwt).await.code, Code::CREATED);
        session
    }

    async fn resumed(&self, town: &Town, before: &CoapSession) -> CoapSession {
        let mut config = config(town);
        config.resume = before.dtls.resumption();
        CoapSession::try_open_at(town.coap, town.clock.clone(), &config)
            .await
            .unwrap()
    }

    /// Asks for an orderly end and waits for whatever end comes.
    fn stop(&mut self) -> ExitStatus {
        let mut stdin = self.child.stdin.take().unwrap();
        let _ = stdin.write_all(b"stop\n");
        self.child.wait().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
