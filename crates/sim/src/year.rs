//! A fleet and the real service through a year on the virtual clock: who fetches when, what is lost on the way, and
//! whether each device can connect to the broker when it wants to.
//!
//! ```text
//!   Member: Client + VirtualModem ──fetch, report──► App (rules, closed loop, renewals, real store)      every few days
//!           keys and certificates ──chain, gate────► let in? ──► App::certificate_used                  twice a day
//!           under its tags
//! ```
//!
//! No sockets lie between them: a request is a method call, and the broker is asked what its listener asks, chain and gate.

use crate::cuts::{Cut, Rng};
use crate::device::Device;
use crate::town::BEGIN;
use sectag_modem::Options;
use sectag_mqtt::{ClientCertificate, Gate, Verdict};
use sectag_pki::chain::{self, Check};
use sectag_pki::{Certificate, Purpose, csr, pem};
use sectag_proto::at::{Answer, Verdict as AtVerdict};
use sectag_proto::device::{ClientConfig, Ending, Input, Output, TransportError};
use sectag_proto::rules::{Rule, RuleDraft};
use sectag_proto::token::KeygenOutput;
use sectag_proto::{DeviceId, Timestamp, Uptime};
use sectag_server::app::{App, Caller, ClaimRequest, Credential, SWITCH_KEY};
use sectag_server::device_api::HEAD_BYTES_MAX;
use sectag_server::{Config, Home, Policy, Service};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A day.
pub const DAY: Duration = Duration::from_secs(86_400);
/// Between two steps of a session.
const STEP: Duration = Duration::from_secs(2);
/// A session that ended badly is tried again after this time, as the client library's back-off would.
const AGAIN_AFTER: Duration = Duration::from_secs(900);
/// Sessions in a row, until one ends well.
const SESSIONS_MAX: u32 = 12;
/// Steps of one session; more means that it runs in a circle.
const STEPS_MAX: u32 = 5_000;
/// The tag of the first certificate.
pub const TAG: u32 = 42;
/// The other one of a device that alternates.
pub const OTHER_TAG: u32 = 43;

/// The service and its fleet.
pub struct Year {
    /// Everything real but its clock.
    pub service: Service,
    /// The devices.
    pub fleet: Vec<Member>,
    /// The owner.
    pub owner: Caller,
    clock: Arc<AtomicU64>,
    root: Vec<u8>,
    issuing: Vec<u8>,
    rng: Rng,
    /// One of so many messages is lost; 0: none.
    pub lost: u64,
    _dir: tempfile::TempDir,
}

/// A device with its habits.
#[derive(Debug)]
pub struct Member {
    /// Client library and modem.
    pub device: Device,
    /// Days between two fetches.
    pub every: u32,
    /// Days of the year on which it has no network at all.
    pub away: Vec<std::ops::Range<u32>>,
    /// Days on which its modem makes no key.
    pub keyless: std::ops::Range<u32>,
    /// Whether it has had a certificate that works.
    pub settled: bool,
    /// Days on which it wanted to connect and could not, with the reason.
    pub outages: Vec<(u32, String)>,
    /// Connections, by public key.
    pub connected: HashMap<[u8; 32], u32>,
    uptime: Uptime,
    /// Key and certificate under each tag, as the AT lines tell.
    tags: HashMap<u32, Tag>,
}

#[derive(Debug, Default)]
struct Tag {
    key: Option<[u8; 32]>,
    certificate: Option<Vec<u8>>,
    trusts: bool,
}

impl std::fmt::Debug for Year {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Year")
            .field("day", &self.day())
            .field("fleet", &self.fleet.len())
            .finish_non_exhaustive()
    }
}

impl Year {
    /// A service that nobody has asked anything yet.
    pub async fn begin(seed: u64) -> Self {
        let dir = directory();
        let home = Home::open(&dir.path().join("home"), BEGIN).expect("a home");
        let read = |name: &str| {
            let text = std::fs::read_to_string(home.ca_file(name)).expect("a certificate");
            pem::certificates(&text).expect("PEM")[0].clone()
        };
        let (root, issuing) = (read("root"), read("devices"));
        let key = format!("Bearer {}", home.owner_key().expose());
        let clock = Arc::new(AtomicU64::new(BEGIN.0));
        let mut config = Config::new(home);
        let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        (config.owner, config.loopback, config.device) = (free, free, free);
        (config.mqtt, config.coap) = (free, free);
        config.policy = Policy::FirstClaim;
        let hands = clock.clone();
        config.clock = Arc::new(move || Timestamp(hands.load(Ordering::Relaxed)));
        let service = Service::start(config).await.expect("a service");
        let owner = service.app().caller(Some(&key)).await.expect("the owner");
        Self {
            service,
            fleet: Vec::new(),
            owner,
            clock,
            root,
            issuing,
            rng: Rng(seed),
            lost: 0,
            _dir: dir,
        }
    }

    /// The use cases.
    pub fn app(&self) -> &App {
        self.service.app()
    }

    /// The root as devices get it.
    pub fn root_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.root)
    }

    /// The calendar.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Relaxed))
    }

    /// Whole days since it began.
    pub fn day(&self) -> u32 {
        u32::try_from(self.now().since(BEGIN).as_secs() / DAY.as_secs()).expect("a year")
    }

    /// An active rule.
    pub async fn rule(&self, draft: serde_json::Value) -> Rule {
        let draft: RuleDraft = serde_json::from_value(draft).expect("a rule");
        let made = self.app().create_rule(&self.owner, draft).await;
        made.expect("a rule that is taken")
    }

    /// A claimed device with this tag that fetches every so many days.
    pub async fn join(&mut self, tag: &str, every: u32) -> &mut Member {
        let seed = 1_000 + self.fleet.len() as u64;
        let mut device = Device::new(seed, ClientConfig::default(), Options::default());
        let request = ClaimRequest {
            token: device.claim_token(),
            tags: vec![tag.to_owned()],
            accept_new_key: false,
        };
        let claimed = self.app().claim(&request, &self.owner).await;
        claimed.expect("a claim");
        self.fleet.push(Member {
            device,
            every,
            away: Vec::new(),
            keyless: 0..0,
            settled: false,
            outages: Vec::new(),
            connected: HashMap::new(),
            uptime: Uptime(0),
            tags: HashMap::new(),
        });
        self.fleet.last_mut().expect("pushed")
    }

    /// One day: who is there connects, fetches when it is its day, and connects again; then the service looks at the calendar.
    pub async fn live_a_day(&mut self) {
        let day = self.day();
        let begin = BEGIN.plus(DAY * day);
        for at in 0..self.fleet.len() {
            let slot = begin.plus(Duration::from_secs(60 * at as u64));
            self.clock.fetch_max(slot.0, Ordering::Relaxed);
            if self.fleet[at].away.iter().any(|away| away.contains(&day)) {
                continue;
            }
            self.connect(at, day);
            if (day + at as u32).is_multiple_of(self.fleet[at].every) {
                self.sessions(at, day).await;
                self.connect(at, day);
            }
        }
        self.app().write_uses().await.expect("a store");
        self.app().look_at_lives(self.now()).await.expect("a store");
        let next = BEGIN.plus(DAY * (day + 1));
        self.clock.fetch_max(next.0, Ordering::Relaxed);
    }

    /// What the broker's listener asks, for the tags of this device in its order.
    fn connect(&mut self, at: usize, day: u32) {
        let now = self.now();
        let member = &mut self.fleet[at];
        let chosen = member.device.settings.get(SWITCH_KEY);
        let chosen = chosen.and_then(|tag| tag.parse().ok()).unwrap_or(TAG);
        let mut reason = "it has no certificate".to_owned();
        for tag in [chosen, TAG, OTHER_TAG] {
            let Some(Tag {
                key: Some(key),
                certificate: Some(der),
                trusts: true,
            }) = member.tags.get(&tag)
            else {
                continue;
            };
            let shown = ClientCertificate::read(der).expect("a device's certificate");
            if shown.spki_sha256 != *key {
                reason = format!("under {tag} key and certificate are of two pairs");
                continue;
            }
            let check = Check {
                root: &self.root,
                intermediates: &[&self.issuing],
                purpose: Purpose::Devices,
                now_s: now.as_secs(),
                crl: None,
                name: None,
            };
            if let Err(error) = chain::verify(der, &check) {
                reason = format!("under {tag}: {error}");
                continue;
            }
            let app = self.service.app();
            match app.doorkeeper().admit(&shown) {
                Verdict::Admit(_) => {
                    app.certificate_used(shown.spki_sha256, now);
                    *member.connected.entry(shown.spki_sha256).or_default() += 1;
                    member.settled = true;
                    return;
                }
                refused => reason = format!("under {tag}: {refused:?}"),
            }
        }
        if member.settled {
            member.outages.push((day, reason));
        }
    }

    /// Sessions until one ends well.
    async fn sessions(&mut self, at: usize, day: u32) {
        for _ in 0..SESSIONS_MAX {
            match self.session(at, day).await {
                Some(Ending::Done) => return,
                Some(Ending::Failed(errno)) if errno.name() == "-ENODATA" => return,
                _ => self.pass(at, AGAIN_AFTER),
            }
        }
    }

    async fn session(&mut self, at: usize, day: u32) -> Option<Ending> {
        let now = self.now();
        let member = &mut self.fleet[at];
        member.device.time_is(now, member.uptime);
        member.device.client.handle(Input::Triggered, member.uptime);
        for _ in 0..STEPS_MAX {
            let output = self.fleet[at].device.client.poll();
            let input = match &output {
                Output::Event(_) => continue,
                Output::Wait(None) => return self.fleet[at].device.client.ending(),
                Output::Wait(Some(until)) => {
                    let wait = until.since(self.fleet[at].uptime);
                    self.pass(at, wait);
                    Input::Tick
                }
                Output::Fetch { jwt, query } => {
                    let query = query.print();
                    let credential = Credential::Jwt(jwt.expose());
                    let cut = self.cut();
                    let answered = match cut {
                        Some(Cut::There) => None,
                        _ => Some(self.app().fetch(credential, &query, HEAD_BYTES_MAX).await),
                    };
                    match (cut, answered) {
                        (None, Some(Ok(Some(body)))) => Input::Fetched { status: 200, body },
                        (None, Some(Ok(None))) => Input::Fetched {
                            status: 204,
                            body: Vec::new(),
                        },
                        (None, Some(Err(refusal))) => panic!("day {day}: {refusal}"),
                        _ => Input::Failed(TransportError::Timeout),
                    }
                }
                Output::Report { jwt, body } => {
                    let credential = Credential::Jwt(jwt.expose());
                    let cut = self.cut();
                    let answered = match cut {
                        Some(Cut::There) => None,
                        _ => Some(self.app().report(credential, body).await),
                    };
                    match (cut, answered) {
                        (None, Some(Ok(()))) => Input::Reported { status: 200 },
                        (None, Some(Err(refusal))) => panic!("day {day}: {refusal}"),
                        _ => Input::Failed(TransportError::Timeout),
                    }
                }
                other => self.fleet[at].answer(other, day),
            };
            self.pass(at, STEP);
            let member = &mut self.fleet[at];
            member.device.modem.advance(member.uptime);
            member.device.client.handle(input, member.uptime);
        }
        panic!("day {day}: a session without end");
    }

    fn cut(&mut self) -> Option<Cut> {
        if self.lost == 0 {
            return None;
        }
        match self.rng.below(2 * self.lost) {
            0 => Some(Cut::There),
            1 => Some(Cut::Back),
            _ => None,
        }
    }

    fn pass(&mut self, at: usize, time: Duration) {
        let ms = u64::try_from(time.as_millis()).expect("a short time");
        self.clock.fetch_add(ms, Ordering::Relaxed);
        let member = &mut self.fleet[at];
        member.uptime = member.uptime.plus(time);
    }
}

impl Member {
    /// Who it is.
    pub fn id(&self) -> DeviceId {
        self.device.id()
    }

    /// What modem and settings say; what it means for the tags is remembered.
    fn answer(&mut self, output: &Output, day: u32) -> Input {
        if let Output::Line(line) = output
            && line.expose().starts_with("AT%KEYGEN=")
            && self.keyless.contains(&day)
        {
            return Input::ModemSaid("+CME ERROR: 514\r\n".into());
        }
        let answer = self.device.answer(output).expect("only requests are left");
        if let (Output::Line(line), Input::ModemSaid(said)) = (output, &answer) {
            self.note(line.expose(), said);
        }
        answer
    }

    fn note(&mut self, line: &str, said: &str) {
        let done = Answer::parse(said).is_ok_and(|answer| answer.verdict == AtVerdict::Ok);
        if !done {
            return;
        }
        if let Some(rest) = line.strip_prefix("AT%KEYGEN=") {
            let tag = number(rest.split(',').next());
            let output = KeygenOutput::parse(said).expect("a KEYGEN answer");
            let spki = csr::parse(&output.body).expect("a CSR").spki_der;
            self.tags.entry(tag).or_default().key = Some(sectag_pki::sha256(&spki));
        } else if let Some(rest) = line.strip_prefix("AT%CMNG=") {
            let mut fields = rest.splitn(4, ',');
            let operation = number(fields.next());
            let tag = self.tags.entry(number(fields.next())).or_default();
            let kind = number(fields.next());
            let content = fields.next().map(|text| text.trim_matches('"'));
            match (operation, kind) {
                (0, 0) => tag.trusts = true,
                (3, 0) => tag.trusts = false,
                (0, 1) => {
                    let text = content.expect("a certificate");
                    let certificate = Certificate::from_pem(text).expect("a certificate");
                    tag.certificate = Some(certificate.der().to_vec());
                }
                (3, 1) => tag.certificate = None,
                (3, 2) => tag.key = None,
                _ => {}
            }
        }
    }
}

fn number(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).expect("a number")
}

/// In memory where the system has such a place: a year has thousands of commits, and a disk would make each of them wait.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory")
}
