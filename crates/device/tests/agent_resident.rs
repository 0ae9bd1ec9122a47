//! A device that keeps running: schedule, hints, network, shutdown.
#![allow(clippy::unwrap_used)]

mod service;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use sectag_device::agent::{Handle, Resident};
use sectag_device::console::Console;
use sectag_device::hosted::HostedModem;
use sectag_device::options::{Identity, Options};
use sectag_device::settings::{Settings, VolatileSettings};
use sectag_device::verbs;
use sectag_modem::host::{Shell, ShellOptions};
use sectag_modem::{LineError, Modem, SharedModem, VirtualModem};
use sectag_proto::device::{CallError, StoreFailure};
use sectag_proto::wire::{Action, WireCommand, encode_commands};
use sectag_proto::{CorrelationId, SecTag};
use service::{Answer, Service};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

fn modem() -> HostedModem {
    HostedModem::new(SharedModem::new(VirtualModem::from_seed(21)))
}

/// A running device; dropping the sender stops it.
struct Running {
    handle: Handle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(options: &[&str], service: &Service, modem: Box<dyn Modem + Send>) -> Self {
        Self::with_settings(options, service, modem, Box::<VolatileSettings>::default())
    }

    fn with_settings(
        options: &[&str],
        service: &Service,
        modem: Box<dyn Modem + Send>,
        settings: Box<dyn Settings + Send>,
    ) -> Self {
        let mut chosen = Options::ours();
        for option in options {
            chosen.apply_flag(option).unwrap();
        }
        let identity = Identity {
            modem_version: "mfw_nrf91x1_2.0.2".to_owned(),
            seed: 7,
            radio_rest: Duration::ZERO,
        };
        let config = chosen.client_config(&identity);
        let (mut resident, handle) =
            Resident::new(config, service.https(), modem, settings).unwrap();
        // The others trust the service without a certificate in the modem.
        if options.contains(&"root-ca-sec-tag=50") {
            resident = resident.rooted_in(chosen.root_ca_tag());
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(async move {
            let _ = resident.run(stopped, &mut |_| {}).await;
        });
        Self { handle, stop, task }
    }

    /// Waits for an event; returns its fields.
    async fn event(&self, name: &str) -> serde_json::Value {
        let journal = self.handle.journal();
        let found = async {
            let mut after = 0;
            loop {
                for entry in journal.after(after) {
                    after = entry.seq;
                    if entry.event == name {
                        return entry.json();
                    }
                }
                journal.beyond(after).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), found).await {
            Ok(event) => event,
            Err(_) => panic!("no {name} in {:#?}", self.names()),
        }
    }

    fn names(&self) -> Vec<&'static str> {
        let journal = self.handle.journal();
        journal.after(0).iter().map(|entry| entry.event).collect()
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn it_comes_by_itself_and_says_when_it_comes_next() {
    let service = Service::start(vec![]).await;
    let running = Running::start(&["spread-s=0"], &service, Box::new(modem()));
    running.event("STOP").await;
    let next = running.handle.journal().after(5);
    assert_eq!(
        running.names()[..4],
        ["SCHEDULED_PROVISIONING", "START", "NO_COMMANDS", "STOP"],
        "{next:?}"
    );
    let interval = running.handle.interval().await.unwrap();
    assert_eq!(interval.interval, Duration::from_secs(86_400));
    assert!(interval.next.unwrap() > Duration::from_secs(86_000));
    running.stop().await;
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn a_manual_one_waits_until_it_is_asked() {
    let service = Service::start(vec![]).await;
    let options = ["auto-start=n", "scheduled=n"];
    let running = Running::start(&options, &service, Box::new(modem()));
    assert!(!running.handle.standing().await.unwrap().running);
    running.handle.now().await.unwrap();
    running.event("STOP").await;
    assert_eq!(running.names(), ["START", "NO_COMMANDS", "STOP"]);
    let refused = running.handle.set_interval(60).await.unwrap_err();
    assert_eq!(refused.errno(), "-ENOTSUP");
    running.stop().await;
}

#[tokio::test]
async fn the_services_hint_says_when_to_come_back() {
    let busy = "HTTP/1.1 500 Busy\r\nRetry-After: 5000\r\nContent-Length: 0\r\n\r\n";
    let service = Service::start(vec![Answer::Raw(busy.as_bytes().to_vec())]).await;
    let running = Running::start(&["spread-s=0"], &service, Box::new(modem()));
    running.event("STOP").await;
    let next = running.handle.interval().await.unwrap().next.unwrap();
    assert!(next > Duration::from_secs(4_990), "{next:?}");
    running.stop().await;
}

#[tokio::test]
async fn an_interval_is_set_and_stored() {
    let service = Service::start(vec![]).await;
    let running = Running::start(&["spread-s=0"], &service, Box::new(modem()));
    running.event("STOP").await;
    running.handle.set_interval(3600).await.unwrap();
    assert_eq!(running.event("INTERVAL_CHANGED").await["seconds"], 3600);
    let interval = running.handle.interval().await.unwrap();
    assert_eq!(interval.interval, Duration::from_secs(3600));
    running.handle.set_interval(3600).await.unwrap();
    // The default, and again: nothing is to be written, and that is an answer too.
    for _ in 0..2 {
        running.handle.set_interval(0).await.unwrap();
    }
    let refused = running.handle.set_interval(-1).await.unwrap_err();
    assert_eq!(refused.errno(), "-EINVAL");
    running.stop().await;
}

/// A settings store whose disk is full.
struct Full;

impl Settings for Full {
    fn save(&mut self, _key: &str, _value: &str) -> Result<(), StoreFailure> {
        Err(StoreFailure::NoMemory)
    }

    fn load(&self, _key: &str) -> Option<String> {
        None
    }
}

#[tokio::test]
async fn an_interval_that_cannot_be_stored_is_refused() {
    let service = Service::start(vec![]).await;
    let running =
        Running::with_settings(&["spread-s=0"], &service, Box::new(modem()), Box::new(Full));
    running.event("STOP").await;
    let refused = running.handle.set_interval(60).await.unwrap_err();
    assert_eq!(refused.errno(), "-ENOSTR");
    assert!(matches!(
        refused,
        sectag_device::agent::AskFailure::Call(CallError::NotStored)
    ));
    running.stop().await;
}

#[tokio::test]
async fn without_a_network_it_waits_for_one() {
    let service = Service::start(vec![]).await;
    let mut air = modem();
    air.line("AT+CGEREP=1");
    air.line("AT+CFUN=1");
    let options = ["spread-s=0", "backoff-s=3600"];
    let running = Running::start(&options, &service, Box::new(air.clone()));
    running.event("STOP").await;
    // Somebody else takes the network away. The device hears of it within a second.
    air.line("AT+CFUN=4");
    let before = service.requests().len();
    let mut waited = 0;
    loop {
        running.handle.now().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let next = running.handle.interval().await.unwrap().next.unwrap();
        if next < Duration::from_secs(10_000) {
            break;
        }
        waited += 1;
        assert!(waited < 20, "{:?}", running.names());
    }
    let during = service.requests().len();
    air.line("AT+CFUN=1");
    while service.requests().len() == during {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(during >= before);
    running.stop().await;
}

/// A modem that stops at a line until it is told to go on.
struct Slow {
    modem: HostedModem,
    at: &'static str,
    reached: mpsc::Sender<()>,
    go_on: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Modem for Slow {
    fn line(&mut self, at: &str) -> Result<String, LineError> {
        if at.starts_with(self.at) {
            self.reached.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        Ok(self.modem.line(at))
    }

    fn notifications(&mut self) -> Vec<String> {
        self.modem.notifications()
    }
}

fn at(id: &str, set_command: &str, parameters: &str) -> WireCommand {
    WireCommand {
        correlation: CorrelationId::new(id).unwrap(),
        action: Action::At {
            set_command: set_command.to_owned(),
            parameters: parameters.to_owned(),
            ignore: vec![],
        },
    }
}

#[tokio::test]
async fn a_slow_modem_blocks_nobody_and_gets_its_radio_back() {
    let batch = encode_commands(&[at("u.1", "%KEYGEN", "42,2,0"), at("u.2", "%CMNG", "1")]);
    let service = Service::start(vec![Answer::Status(200, batch)]).await;
    let mut virtual_modem = modem();
    virtual_modem.line("AT+CFUN=1");
    let (reached, at_keygen) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let slow = Slow {
        modem: virtual_modem.clone(),
        at: "AT%KEYGEN",
        reached,
        go_on: Arc::new(Mutex::new(wait)),
    };
    let running = Running::start(&["spread-s=0"], &service, Box::new(slow));
    tokio::task::spawn_blocking(move || at_keygen.recv().unwrap())
        .await
        .unwrap();
    assert_eq!(virtual_modem.line("AT+CFUN?"), "+CFUN: 4\r\nOK\r\n");
    let standing = running.handle.standing().await.unwrap();
    assert!(standing.running, "answered while the modem works");

    let stopping = tokio::spawn(running.stop());
    go_on.send(()).unwrap();
    stopping.await.unwrap();
    assert_eq!(virtual_modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
    assert_eq!(virtual_modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n");
    assert_eq!(service.requests().len(), 1, "nothing was reported");
}

/// `kernel reboot warm` at the console of a board with `modem`.
async fn reboot(running: &Running, mut modem: HostedModem) {
    let mut console = Console::new(running.handle.clone());
    let typed = move || {
        let mut shell = Shell::new(ShellOptions::default());
        let line = b"kernel reboot warm\r";
        shell.receive(line, &mut modem, &mut console, &mut Vec::new())
    };
    tokio::task::spawn_blocking(typed).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_board_asks_the_service_soon_after_a_reboot() {
    let service = Service::start(vec![]).await;
    let board = modem();
    let running = Running::start(&["spread-s=0"], &service, Box::new(board.clone()));
    running.event("STOP").await;
    reboot(&running, board).await;
    while service.requests().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        running
            .names()
            .iter()
            .filter(|name| **name == "START")
            .count()
            == 2
    );
    running.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_a_reboot_and_another_one_does_its_work() {
    let batch = encode_commands(&[at("u.1", "%KEYGEN", "42,2,0")]);
    let again = [batch.clone(), batch].map(|batch| Answer::Status(200, batch));
    let service = Service::start(again.into()).await;
    let board = modem();
    let (reached, at_keygen) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let slow = Slow {
        modem: board.clone(),
        at: "AT%KEYGEN",
        reached,
        go_on: Arc::new(Mutex::new(wait)),
    };
    let running = Running::start(&["spread-s=0"], &service, Box::new(slow));
    let at_keygen = tokio::task::spawn_blocking(move || {
        at_keygen.recv().unwrap();
        at_keygen
    });
    let at_keygen = at_keygen.await.unwrap();
    // The line under way is waited for.
    go_on.send(()).unwrap();
    reboot(&running, board).await;
    go_on.send(()).unwrap();
    let once_more = tokio::task::spawn_blocking(move || at_keygen.recv().unwrap());
    once_more.await.unwrap();
    running.event("NO_COMMANDS").await;
    let requests = service.requests();
    let from_the_beginning = requests
        .iter()
        .filter(|request| contains(request, b"?after=&"));
    assert_eq!(from_the_beginning.count(), 2);
    running.stop().await;
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_root_ca_counts_from_the_next_session_on() {
    let service = Service::start(vec![]).await;
    let other = Service::start(vec![]).await;
    let tag = SecTag::new(50).unwrap();
    let mut virtual_modem = modem();
    verbs::place_root_ca(&mut virtual_modem, tag, &other.root_pem).unwrap();
    let options = ["auto-start=n", "scheduled=n", "root-ca-sec-tag=50"];
    let running = Running::start(&options, &service, Box::new(virtual_modem.clone()));
    running.handle.now().await.unwrap();
    running.event("FAILED_WRONG_ROOT_CA").await;
    virtual_modem.line("AT%CMNG=3,50,0");
    verbs::place_root_ca(&mut virtual_modem, tag, &service.root_pem).unwrap();
    running.handle.now().await.unwrap();
    running.event("NO_COMMANDS").await;
    assert!(virtual_modem.line("AT%CMNG=3,50,0").contains("OK"));
    let last = running.handle.journal().last();
    running.handle.now().await.unwrap();
    running.handle.journal().beyond(last + 1).await;
    let entry = &running.handle.journal().after(last + 1)[0];
    assert_eq!(entry.event, "FAILED_WRONG_ROOT_CA");
    running.stop().await;
}

#[tokio::test]
async fn a_failed_command_is_named_with_its_number_and_the_modems_words() {
    let batch = encode_commands(&[at("u.1", "%CMNG", "1"), at("u.2", "%CMNG", "3,77,0")]);
    let service = Service::start(vec![Answer::Status(200, batch)]).await;
    let options = ["auto-start=n", "scheduled=n"];
    let running = Running::start(&options, &service, Box::new(modem()));
    running.handle.now().await.unwrap();
    let failed = running.event("COMMAND_FAILED").await;
    assert_eq!(failed["index"], 1);
    assert_eq!(failed["correlation"], "u.2");
    assert_eq!(failed["command"], "AT%CMNG=3,77,0");
    assert_eq!(failed["number"], 513);
    assert_eq!(failed["answer"], "+CME ERROR: 513");
    running.stop().await;
}

/// A modem whose cable was pulled.
struct Unplugged;

impl Modem for Unplugged {
    fn line(&mut self, _at: &str) -> Result<String, LineError> {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        Err(LineError::Port(gone))
    }

    fn notifications(&mut self) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_device_without_its_modem_ends() {
    let service = Service::start(vec![]).await;
    let running = Running::start(&["spread-s=0"], &service, Box::new(Unplugged));
    running.task.await.unwrap();
    assert_eq!(
        running.handle.now().await.unwrap_err().errno(),
        "-ESHUTDOWN"
    );
    assert!(service.requests().is_empty());
}

#[tokio::test]
async fn who_asks_a_stopped_device_is_told() {
    let service = Service::start(vec![]).await;
    let running = Running::start(&[], &service, Box::new(modem()));
    let handle = running.handle.clone();
    running.stop().await;
    assert_eq!(handle.now().await.unwrap_err().errno(), "-ESHUTDOWN");
    // Its modem still answers as long as somebody holds it.
    assert!(handle.token().await.unwrap().contains('.'));
}
