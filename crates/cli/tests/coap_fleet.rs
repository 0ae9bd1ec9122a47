//! A thousand sessions of a client none of us wrote, through the two ends of a service.
//!
//! ```text
//!   1,000 devices ── handshake, p/auth-jwt, p/cmd ──► service ── SIGTERM ─► sealed ─► up again
//!   the same 1,000 ── p/cmd on the session they had ──► 2.05, no handshake, record numbers go on
//!                                                      service ── SIGKILL ─► up again, nothing is loaded
//!   the same 1,000 ── p/cmd on the session they had ──► silence
//!   the same 1,000 ── handshake by ticket (some of openssl by session ID), p/auth-jwt, p/cmd ──► 2.05
//! ```
//! Over all datagrams of all that: no key is used twice with one number.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../server/tests/support/device.rs"]
#[allow(dead_code, unreachable_pub)]
mod device;
#[path = "../../../tests/peers/dtls/foreign.rs"]
mod foreign;
mod support;
#[path = "../../../tests/peers/dtls/tools.rs"]
mod tools;
#[path = "../../../tests/peers/coap/words.rs"]
mod words;

use device::FakeDevice;
use foreign::{Foreign, Head, Nonces, Server};
use purecrypto::tls::ResumptionSession;
use sectag_proto::{DeviceId, Timestamp};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::owner::call;
use support::{Home, Up};
use tools::{Desk, Tool, have};
use words::{Answer, GET, POST, answer, request};

/// Sessions, each of a claimed device with a socket of its own.
const FLEET: usize = 1000;
/// Of a thousand sessions at most one may need a handshake after an orderly restart.
const LOST_MAX: usize = FLEET / 1000;
/// The first answer after the service said that it listens.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(1);
/// Clients at work at a time; each waits for its answer before the next one's turn.
const THREADS: usize = 4;
/// Sessions that are resumed by their ID, since their client takes no tickets.
const WITHOUT_TICKETS: usize = 5;
/// How long a silence is listened to, by all at once.
const SILENCE: Duration = Duration::from_millis(200);
/// File descriptors beside the fleet's sockets.
const OTHER_FILES: usize = 200;

const FETCH: [&str; 4] = ["after=", "rxMaxSize=1024", "txMaxSize=1024", "limit=10"];
const VERSIONS: [&str; 2] = ["mver=mfw_nrf91x1_2.0.2", "cver=3.1.0"];

struct Member {
    device: FakeDevice,
    client: Foreign,
    ticket: Option<ResumptionSession>,
    message_id: u16,
}

impl Member {
    fn enrol(number: usize, server: &Server, owner: SocketAddr, key: &str) -> Self {
        let mut device = FakeDevice::new(1);
        let mut id = [0xAB; 16];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        device.id = DeviceId::from_bytes(id);
        let claim = json!({ "claimToken": device.claim_token() });
        let claimed = call(owner, key, "POST", "/v1/claimed-devices", Some(&claim)).unwrap();
        assert_eq!(claimed.status, 201, "{claimed:?}");
        let mut client = Foreign::connect(server, None).unwrap();
        assert!(client.server_cid().is_some_and(|cid| !cid.is_empty()));
        let ticket = client.ticket();
        Self {
            device,
            client,
            ticket,
            message_id: 0,
        }
    }

    fn authenticate(&mut self) {
        let jwt = self.device.jwt(now());
        let said = self.ask(POST, "auth-jwt", &VERSIONS, Some(jwt.as_bytes()));
        assert_eq!(said.unwrap().code, "2.01");
    }

    /// Asks for commands; true when the service knows this session, and that it may.
    fn fetches(&mut self) -> bool {
        let said = self.ask(GET, "cmd", &FETCH, None);
        said.is_some_and(|said| said.code == "2.05")
    }

    fn ask(
        &mut self,
        code: u8,
        path: &str,
        queries: &[&str],
        payload: Option<&[u8]>,
    ) -> Option<Answer> {
        self.message_id += 1;
        let message = request(code, self.message_id, path, queries, payload);
        Some(answer(&self.client.ask(&message)?))
    }

    fn knock(&mut self) {
        self.message_id += 1;
        self.client
            .send(&request(GET, self.message_id, "cmd", &FETCH, None));
    }
}

/// Does something with each member, several at a time; gives what came of it, in order.
fn each<T: Send>(fleet: &mut [Member], work: impl Fn(&mut Member) -> T + Sync) -> Vec<T> {
    let share = fleet.len().div_ceil(THREADS);
    std::thread::scope(|scope| {
        let work = &work;
        let parts = fleet.chunks_mut(share);
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(move || part.iter_mut().map(work).collect::<Vec<T>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}

#[test]
fn a_thousand_sessions_outlive_an_orderly_restart_and_none_a_kill() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = (FLEET + OTHER_FILES) as u64;
    if files.current.is_some_and(|current| current < wanted) {
        let raised = rustix::process::Rlimit {
            current: Some(wanted),
            ..files
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
            .expect("room for a socket per device");
    }
    let home = Home::new();
    let up = home.up(&[]);
    let key = home.read("owner.key");
    let server = Server {
        address: door(&home),
        root_pem: home.sectag(&["ca", "export"]).expect_code(0).stdout,
        name: "localhost".to_owned(),
    };
    let at = server.address.to_string();
    let desk = have(&["openssl"]).then(|| Desk::new(&server));

    let begun = Instant::now();
    let mut fleet = enrol(&server, up.listeners.loopback, &key);
    let enrolled = begun.elapsed();
    if let Some(desk) = &desk {
        pings(desk, "-sess_out");
    }
    let before: Vec<(u16, u64)> = fleet
        .iter()
        .map(|member| member.client.last_from_server().unwrap())
        .collect();
    let cids: HashSet<Vec<u8>> = fleet
        .iter()
        .map(|member| member.client.server_cid().unwrap())
        .collect();
    assert_eq!(cids.len(), FLEET, "each session has a CID of its own");

    // The orderly end.
    let begun = Instant::now();
    assert!(up.stop().success());
    let stopped = begun.elapsed();
    assert!(home.path().join("coap-sessions").exists());
    let begun = Instant::now();
    let up = home.up(&[("SECTAG_LISTEN_COAP", &at)]);
    let started = begun.elapsed();
    assert!(
        !home.path().join("coap-sessions").exists(),
        "consumed before anything was loaded"
    );
    let listening = Instant::now();
    let first = fleet[0].fetches().then(|| listening.elapsed());
    let answered = each(&mut fleet[1..], |member| {
        member.fetches().then(|| listening.elapsed())
    });
    let times: Vec<Duration> = [first].into_iter().chain(answered).flatten().collect();
    let first = *times.iter().min().expect("an answer");
    println!(
        "{FLEET} sessions: enrolled in {enrolled:.1?}; stopped in {stopped:.1?}, up in {started:.1?}, \
         {} went on, first answer after {first:.1?}, last after {:.1?}",
        times.len(),
        times.iter().max().unwrap(),
    );
    assert!(
        times.len() >= FLEET - LOST_MAX,
        "{} of {FLEET} went on",
        times.len()
    );
    assert!(first <= FIRST_ANSWER_MAX, "first answer after {first:?}");
    let mut went_on = 0;
    for (member, before) in fleet.iter().zip(before) {
        let after = member.client.last_from_server().unwrap();
        assert!(after >= before, "record numbers never go back");
        went_on += usize::from(after.0 == before.0 && after.1 > before.1);
    }
    assert!(went_on >= FLEET - LOST_MAX);
    let counted = coap_counters(&home);
    let handshakes = &counted["handshakes"];
    assert_eq!(
        (
            &handshakes["full"],
            &handshakes["byTicket"],
            &handshakes["bySessionId"]
        ),
        (&json!(0), &json!(0), &json!(0)),
        "{counted}"
    );
    assert!(
        counted["authorised"].as_u64().unwrap() >= (FLEET - LOST_MAX) as u64,
        "{counted}"
    );

    // The end without a goodbye.
    kill(up);
    assert!(!home.path().join("coap-sessions").exists());
    let up = home.up(&[("SECTAG_LISTEN_COAP", &at)]);
    fleet.iter_mut().for_each(Member::knock);
    std::thread::sleep(SILENCE);
    let woken = fleet
        .iter_mut()
        .filter_map(|member| member.client.hears(Duration::ZERO).then_some(()));
    assert_eq!(woken.count(), 0, "sessions that were loaded after a kill");

    let mut histories: Vec<Vec<Head>> = fleet
        .iter_mut()
        .map(|member| std::mem::take(&mut member.client.heads))
        .collect();
    let begun = Instant::now();
    let resumed = each(&mut fleet, |member| {
        member.client = Foreign::connect(&server, member.ticket.take()).unwrap();
        let resumed = member.client.resumed();
        let refused = !member.fetches();
        member.authenticate();
        (resumed, refused, member.fetches())
    });
    println!("all back {:.1?} after the kill", begun.elapsed());
    assert!(
        resumed.iter().all(|(resumed, ..)| *resumed),
        "all resume by ticket"
    );
    assert!(
        resumed.iter().all(|(.., fetches)| *fetches),
        "all are served"
    );
    let mut by_session_id = 0;
    if let Some(desk) = &desk {
        for text in pings(desk, "-sess_in") {
            assert!(text.contains("Reused, "), "resumed by session ID: {text}");
            by_session_id += 1;
        }
    }
    let counted = coap_counters(&home);
    let handshakes = &counted["handshakes"];
    assert_eq!(
        (
            &handshakes["full"],
            &handshakes["byTicket"],
            &handshakes["bySessionId"]
        ),
        (&json!(0), &json!(FLEET), &json!(by_session_id)),
        "{counted}"
    );
    histories.extend(
        fleet
            .iter_mut()
            .map(|member| std::mem::take(&mut member.client.heads)),
    );
    let mut nonces = Nonces::default();
    for (key, heads) in histories.iter().enumerate() {
        nonces.add(key as u64, heads);
    }
    nonces.assert_never_twice();
    println!(
        "{} protected records under {} keys, none twice",
        nonces.records(),
        2 * histories.len()
    );
    drop(up);
}

fn enrol(server: &Server, owner: SocketAddr, key: &str) -> Vec<Member> {
    let share = FLEET / THREADS;
    std::thread::scope(|scope| {
        let parts = (0..THREADS).map(|part| {
            scope.spawn(move || {
                let numbers = part * share..(part + 1) * share;
                let enrolled = numbers.map(|number| {
                    let mut member = Member::enrol(number, server, owner, key);
                    member.authenticate();
                    assert!(member.fetches());
                    member
                });
                enrolled.collect::<Vec<_>>()
            })
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}

/// CoAP pings through `openssl s_client`s that take no tickets: each writes or reads a session of its own.
fn pings(desk: &Desk, flag: &str) -> Vec<String> {
    let ping = |number: usize| {
        let arguments = ["-no_ticket", flag, &format!("session-{number}")];
        let mut tool = Tool::start(desk.s_client(&arguments));
        tool.until("Verify return code: 0");
        tool.write("\x40\x00\x00\x07");
        tool.until("p\0\0\x07");
        tool.finish().1
    };
    std::thread::scope(|scope| {
        let said: Vec<_> = (0..WITHOUT_TICKETS)
            .map(|number| scope.spawn(move || ping(number)))
            .collect();
        said.into_iter().map(|text| text.join().unwrap()).collect()
    })
}

fn door(home: &Home) -> SocketAddr {
    let run: Value = serde_json::from_str(&home.read("run.json")).unwrap();
    run["listeners"]["coap"].as_str().unwrap().parse().unwrap()
}

fn coap_counters(home: &Home) -> Value {
    home.json(&["status"])["coap"].clone()
}

fn kill(mut up: Up) {
    up.child.kill().unwrap();
    up.child.wait().unwrap();
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(now.as_millis()).unwrap())
}
