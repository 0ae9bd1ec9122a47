//! A virtual modem, a folder of credential files and our own broker on one desk, and somebody who watches.
#![allow(clippy::unwrap_used, dead_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sectag_device::HostedModem;
use sectag_device::link::Security;
use sectag_device::sample::{
    self, Board, Config, Ending, Folder, Handle, Happening, Options, Session,
};
use sectag_modem::{SharedModem, VirtualModem};
use sectag_mqtt::{Broker, BrokerConfig, Listener, Trust, TrustMaterial};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use sectag_proto::{SecTag, at};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// The sec tag in use.
pub(crate) const TAG: u64 = 955;
/// Length of `Client ID: nrf-<IMEI>`.
pub(crate) const IMEI_LINE: usize = "Client ID: nrf-".len() + 15;
/// A busy machine does each step well within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A CA, a broker of it, and where it listens.
pub(crate) struct House {
    root: Authority,
    devices: Authority,
    trust: Arc<Trust>,
    broker: std::sync::Mutex<Option<Broker>>,
    port: u16,
}

impl House {
    pub(crate) async fn build() -> Self {
        let root = Authority::root("root", now_s()).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s()).unwrap();
        let devices = root.issuing(Purpose::Devices, now_s()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns("localhost".into())];
        let server = servers
            .issue_server(&key.spki_der(), &names, now_s())
            .unwrap();
        let material = TrustMaterial::from_pem(
            &(server.pem() + &servers.certificate_pem()),
            &key.to_pem(),
            &devices.certificate_pem(),
            &[],
        )
        .unwrap();
        let trust = Arc::new(Trust::new(material).unwrap());
        let broker = start("127.0.0.1:0", &trust).await;
        Self {
            port: broker.local_addr().port(),
            broker: std::sync::Mutex::new(Some(broker)),
            root,
            devices,
            trust,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn down(&self) {
        let broker = self.broker.lock().unwrap().take();
        if let Some(broker) = broker {
            broker.shutdown().await;
        }
    }

    pub(crate) async fn up_again(&self) {
        let broker = start(&format!("127.0.0.1:{}", self.port), &self.trust).await;
        *self.broker.lock().unwrap() = Some(broker);
    }

    /// PEM of a CA that nobody here trusts.
    pub(crate) fn another_root(&self) -> String {
        Authority::root("another", now_s())
            .unwrap()
            .certificate_pem()
    }
}

async fn start(listen: &str, trust: &Arc<Trust>) -> Broker {
    let config = BrokerConfig::new([Listener::tls(listen.parse().unwrap(), trust.clone())]);
    Broker::start(config).await.unwrap()
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// File names and contents that make a device of the house: CA, certificate, key.
pub(crate) fn papers(house: &House, name: &str) -> Vec<(&'static str, String)> {
    let key = PrivateKey::generate().unwrap();
    let certificate = house
        .devices
        .issue_device(&key.spki_der(), name, now_s())
        .unwrap();
    vec![
        ("ca-cert.pem", house.root.certificate_pem()),
        ("client-cert.pem", certificate.pem()),
        ("private-key.pem", key.to_pem().to_string()),
    ]
}

pub(crate) struct Desk {
    pub(crate) house: House,
    pub(crate) modem: HostedModem,
    dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self {
            house: House::build().await,
            modem: HostedModem::new(SharedModem::new(VirtualModem::from_seed(7))),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write_all(&self, papers: &[(&str, String)]) {
        for (name, text) in papers {
            std::fs::write(self.file(name), text).unwrap();
        }
    }

    /// Puts a PEM under the tag; the modem must be offline.
    pub(crate) fn write_tag(&self, kind: u8, pem: &str) {
        let line = format!("AT%CMNG=0,{TAG},{kind},{}", at::quote(pem).unwrap());
        let said = self.modem.clone().line(&line);
        assert!(said.ends_with("OK\r\n"), "{said}");
    }

    /// Puts everything that makes it this device under the tag.
    pub(crate) fn provision(&self, name: &str) {
        for (kind, (_, pem)) in (0..).zip(papers(&self.house, name)) {
            self.write_tag(kind, &pem);
        }
    }

    /// Empties the tag.
    pub(crate) fn forget(&self) {
        for kind in 0..3 {
            self.modem.clone().line(&format!("AT%CMNG=3,{TAG},{kind}"));
        }
    }

    /// The sample at this broker, without the long pauses of the firmware.
    pub(crate) fn sample(&self) -> Options {
        let port = self.house.port;
        let tag = SecTag::new(TAG).unwrap();
        let config = self.config(Config::sample("localhost", port, true));
        let mut options = Options::new(config, Security::tags([tag]));
        options.timeout = Duration::from_secs(10);
        options.folder = Some(Folder {
            path: self.file(""),
            primary: tag,
            secondary: None,
        });
        options
    }

    /// The same for any configuration.
    pub(crate) fn config(&self, config: Config) -> Config {
        Config {
            port: self.house.port,
            connect_delay: Duration::ZERO,
            reconnect: Duration::from_millis(100),
            ..config
        }
    }

    pub(crate) fn start(&self, options: &Options) -> (Handle, Watch) {
        let (handle, mut remote) = sample::remote();
        let (sender, receiver) = mpsc::unbounded_channel();
        let signer = Arc::new(self.modem.shared().clone());
        let mut board = Board::modem(Box::new(self.modem.clone()), signer);
        let options = options.clone();
        let run = tokio::spawn(async move {
            let mut observe = |happening: Happening<'_>| {
                let _ = sender.send(Note::of(&happening));
            };
            sample::run(&mut board, &options, &mut remote, &mut observe).await
        });
        let watch = Watch {
            handle: handle.clone(),
            run,
            notes: Mutex::new((receiver, Heard::default())),
        };
        (handle, watch)
    }

    /// Runs it until it ends by itself.
    pub(crate) async fn run(&self, options: &Options) -> (Ending, Heard) {
        let (_handle, watch) = self.start(options);
        watch.end().await
    }

    /// Runs it while `work` lasts, then stops it.
    pub(crate) async fn run_while(
        &self,
        options: &Options,
        work: impl AsyncFnOnce(&Watch),
    ) -> (Ending, Heard) {
        let (handle, watch) = self.start(options);
        work(&watch).await;
        handle.stop();
        watch.end().await
    }

    /// From power on to the first connection.
    pub(crate) async fn boot(&self, options: &Options) -> Heard {
        let (_, heard) = self
            .run_while(options, async |watch| {
                watch.until("TLS: Yes").await;
            })
            .await;
        heard
    }
}

/// One thing that happened.
enum Note {
    Line(String),
    Led(u8, bool),
    Written(String),
    Trouble(String, Option<String>),
    Session(Box<Session>),
    Other,
}

impl Note {
    fn of(happening: &Happening<'_>) -> Self {
        match happening {
            Happening::Line(line) => Self::Line(line.to_string()),
            Happening::Led { number, on } => Self::Led(*number, *on),
            Happening::Provisioned(_, written) => Self::Written(format!("{written:?}")),
            Happening::NotProvisioned(error) => {
                let mut text = error.to_string();
                let mut source = std::error::Error::source(error);
                while let Some(cause) = source {
                    text.push_str(&format!(": {cause}"));
                    source = cause.source();
                }
                Self::Trouble(text, error.hint())
            }
            Happening::NotConnected(error) => Self::Trouble(error.to_string(), error.hint()),
            Happening::Refused(error, explanation) => Self::Trouble(
                error.to_string(),
                explanation.map(|explanation| explanation.fix.clone()),
            ),
            Happening::Session(session) => Self::Session(Box::new((*session).clone())),
            _ => Self::Other,
        }
    }
}

/// Everything that was heard.
#[derive(Default)]
pub(crate) struct Heard {
    lines: Vec<String>,
    written: Vec<String>,
    pub(crate) leds: Vec<(u8, bool)>,
    pub(crate) troubles: Vec<String>,
    pub(crate) hints: Vec<String>,
    pub(crate) sessions: Vec<Session>,
}

impl Heard {
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(crate) fn written(&self) -> &[String] {
        &self.written
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Line(line) => self.lines.push(line),
            Note::Led(number, on) => self.leds.push((number, on)),
            Note::Written(word) => self.written.push(word),
            Note::Trouble(text, hint) => {
                self.troubles.push(text);
                self.hints.extend(hint);
            }
            Note::Session(session) => self.sessions.push(*session),
            Note::Other => {}
        }
    }
}

/// A running sample.
pub(crate) struct Watch {
    pub(crate) handle: Handle,
    run: JoinHandle<Ending>,
    notes: Mutex<(mpsc::UnboundedReceiver<Note>, Heard)>,
}

impl Watch {
    /// Waits for this line, from the last awaited one on.
    pub(crate) async fn until(&self, line: &str) {
        let mut notes = self.notes.lock().await;
        let (receiver, heard) = &mut *notes;
        loop {
            let next = tokio::time::timeout(PATIENCE, receiver.recv()).await;
            let Ok(Some(note)) = next else {
                panic!(
                    "no line `{line}`; heard {:#?} {:#?}",
                    heard.lines, heard.troubles
                );
            };
            let found = matches!(&note, Note::Line(text) if text == line);
            heard.take(note);
            if found {
                return;
            }
        }
    }

    /// Waits for the end.
    pub(crate) async fn end(self) -> (Ending, Heard) {
        let ending = tokio::time::timeout(PATIENCE, self.run)
            .await
            .unwrap()
            .unwrap();
        let (mut receiver, mut heard) = self.notes.into_inner();
        while let Some(note) = receiver.recv().await {
            heard.take(note);
        }
        (ending, heard)
    }
}
