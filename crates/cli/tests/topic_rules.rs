//! The rule language decides as mosquitto does with the access list that is written for it.
//!
//! Random rules from a seed; for each, Debian's mosquitto with the rendered file, and clients with and without a name. What
//! each may publish is in the acknowledgement (MQTT 5), what each may read is what arrives before a fence.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sectag_gateway::acl::render;
use sectag_mqtt::{Client, ClientError, ConnectOptions, Incoming, Qos, Transport, Version};
use sectag_pki::topics::{self, Rules};
use sectag_pki::{ClientIdentity, Role};
use tokio::sync::mpsc::Receiver;

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: u64 = 12;

const ACCESS: [&str; 3] = ["publish", "subscribe", "both"];
const PATTERNS: [&str; 10] = [
    "{cn}/#",
    "a/{client_id}/#",
    "a/+/x",
    "#",
    "+/x",
    "{client_id}/{cn}",
    "a/#",
    "b",
    "x-{cn}/+",
    "+/+/+",
];
const WHOM: [&str; 6] = [
    "",
    "",
    "",
    " for cn dev-1",
    " for role operator",
    " for anonymous",
];
const TOPICS: [&str; 14] = [
    "a",
    "a/b/x",
    "a/id-1/q",
    "a/id-4",
    "dev-1",
    "dev-1/x",
    "dev-2/x",
    "op/x",
    "id-1/dev-1",
    "b",
    "b/x",
    "x-dev-1/k",
    "/x",
    "c//",
];
/// Nobody's, whatever the rules say.
const SYSTEM: &str = "$app/x";

/// Name and client identifier; `op` has an operator's certificate.
const CLIENTS: [(Option<&str>, &str); 4] = [
    (Some("dev-1"), "id-1"),
    (Some("dev-2"), "id-2"),
    (Some("op"), "id-3"),
    (None, "id-4"),
];

/// Small, seeded, good enough to choose rules.
struct Dice(u64);

impl Dice {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from[usize::try_from(self.0 % from.len() as u64).unwrap()]
    }
}

/// Rules that mosquitto can be told.
fn rules(seed: u64) -> (String, Rules) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut text = String::new();
    while text.lines().count() < 4 {
        let (access, pattern) = (dice.pick(&ACCESS), dice.pick(&PATTERNS));
        let line = format!("allow {access} {pattern}{}\n", dice.pick(&WHOM));
        let rules = Rules::parse(&line).unwrap();
        if render(&rules, &["op".to_owned()]).is_ok() {
            text += &line;
        }
    }
    let rules = Rules::parse(&text).unwrap();
    (text, rules)
}

fn identity(cn: &str) -> ClientIdentity {
    ClientIdentity {
        cn: cn.to_owned(),
        role: match cn {
            "op" => Role::Operator,
            _ => Role::Device,
        },
        serial: "01".to_owned(),
        issuer: "CN=ca".to_owned(),
    }
}

struct Mosquitto {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Mosquitto {
    /// Plaintext, so that a name is as good as a certificate's: `use_identity_as_username` gives the same one.
    fn start(program: &str, acl: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        // The umpire, and a topic for the end of each reading.
        let acl = format!("{acl}\nuser umpire\ntopic readwrite #\n\npattern read fence/%c\n");
        std::fs::write(dir.path().join("acl"), acl).unwrap();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {}\npersistence false\n{}",
            dir.path().join("acl").display(),
            if rustix::process::geteuid().is_root() {
                "user root\n"
            } else {
                ""
            },
        );
        std::fs::write(dir.path().join("conf"), config).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(dir.path().join("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mosquitto = Self {
            child,
            port,
            _dir: dir,
        };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        mosquitto
    }

    async fn connect(&self, name: Option<&str>, id: &str) -> (Client, Receiver<Incoming>) {
        let options = ConnectOptions {
            version: Version::V5,
            timeout: PATIENCE,
            user_name: name.map(str::to_owned),
            ..ConnectOptions::new(id)
        };
        Client::connect("127.0.0.1", self.port, Transport::Plain, options)
            .await
            .unwrap()
    }
}

fn mosquitto() -> Option<&'static str> {
    let places = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"];
    let found = places.into_iter().find(|path| Path::new(path).is_file());
    if found.is_none() {
        let required = std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require");
        assert!(
            !required,
            "mosquitto is not installed and SECTAG_PEERS=require"
        );
        let _ = writeln!(std::io::stderr(), "skipped: mosquitto is not installed");
    }
    found
}

#[test]
fn the_reference_page_shows_rules_that_are_rules() {
    let page = include_str!("../../../docs/reference/topic-rules.md");
    let blocks: Vec<&str> = page
        .split("```rules\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 2);
    assert_eq!(Rules::parse(blocks[0]), Ok(Rules::default()));
    assert_eq!(Rules::parse(blocks[1]).unwrap().rules().len(), 5);
    assert_eq!(Rules::parse(topics::OPEN_RULES), Ok(Rules::open()));
    assert!(page.contains(topics::OPEN_RULES.trim()));
}

#[tokio::test]
async fn both_brokers_decide_alike() {
    let Some(program) = mosquitto() else { return };
    let (mut open, mut closed) = (0, 0);
    for seed in 1..=ROUNDS {
        let (text, rules) = rules(seed);
        let acl = render(&rules, &["op".to_owned()]).unwrap();
        let mosquitto = Mosquitto::start(program, &acl);
        let (umpire, _none) = mosquitto.connect(Some("umpire"), "umpire").await;
        for (name, id) in CLIENTS {
            let certificate = name.map(identity);
            let rights = rules.rights(&topics::Client {
                certificate: certificate.as_ref(),
                client_id: Some(id),
            });
            let (client, mut inbox) = mosquitto.connect(name, id).await;
            for topic in TOPICS.into_iter().chain([SYSTEM]) {
                let said = client.publish(topic, "x", Qos::AtLeastOnce, false).await;
                let theirs = match said {
                    Ok(()) => true,
                    Err(ClientError::PublishRefused { .. }) => false,
                    Err(error) => panic!("{error:?}"),
                };
                let ours = rights.may_publish(topic);
                assert_eq!(
                    ours, theirs,
                    "seed {seed}: {name:?} publishes {topic}\n{text}\n{acl}"
                );
                *if ours { &mut open } else { &mut closed } += 1;
            }
            let fence = format!("fence/{id}");
            for filter in TOPICS.into_iter().chain([fence.as_str()]) {
                client.subscribe(filter, Qos::AtLeastOnce).await.unwrap();
            }
            for topic in TOPICS.into_iter().chain([fence.as_str()]) {
                umpire
                    .publish(topic, "x", Qos::AtLeastOnce, false)
                    .await
                    .unwrap();
            }
            let mut heard = Vec::new();
            loop {
                let message = tokio::time::timeout(PATIENCE, inbox.recv()).await;
                let message = message.unwrap().unwrap();
                if message.topic == fence {
                    break;
                }
                heard.push(message.topic.clone());
            }
            for topic in TOPICS {
                let theirs = heard.iter().any(|heard| heard == topic);
                let ours = rights.may_subscribe(topic);
                assert_eq!(
                    ours, theirs,
                    "seed {seed}: {name:?} reads {topic}\n{text}\n{acl}"
                );
                *if ours { &mut open } else { &mut closed } += 1;
            }
        }
    }
    assert!(open > 100 && closed > 100, "{open} open, {closed} closed");
}
