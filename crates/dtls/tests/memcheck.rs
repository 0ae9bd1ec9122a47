//! One life of sessions without sockets: handshake, records, a move, save and load, resumption, garbage, the end. Valgrind watches
//! it in the long runs (`make soak`).
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub
)]

use sectag_dtls::{
    Client, ClientConfig, ClientEvent, ClientOutput, Endpoint, Event, Identity, MasterSecret, Now,
    Output, Random, Resumption, SavedSession, ServerConfig, Suites,
};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// What valgrind exits with when it found something; no test harness does.
const FOUND: i32 = 99;

struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// The certificates, valid from 1975 to 4096, and a clock between.
struct Town {
    identity: Identity,
    root_pem: String,
    seconds: u64,
    events: Vec<Event>,
    client_events: Vec<ClientEvent>,
}

impl Town {
    fn new() -> Self {
        let root_key = rcgen::KeyPair::generate().unwrap();
        let mut root = rcgen::CertificateParams::new([]).unwrap();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["coap.example".to_owned()]).unwrap();
        let leaf = leaf
            .signed_by(&key, &rcgen::Issuer::new(root, root_key))
            .unwrap();
        Self {
            identity: Identity::from_pem(&leaf.pem(), &key.serialize_pem()).unwrap(),
            root_pem,
            seconds: 1,
            events: Vec::new(),
            client_events: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            uptime: Duration::from_secs(self.seconds),
            unix_s: 1_800_000_000 + self.seconds,
        }
    }

    fn endpoint(&self, seed: u64) -> Endpoint {
        let config = ServerConfig::new(self.identity.clone(), MasterSecret::new([7; 32]));
        Endpoint::new(config, Box::new(Seeded(seed))).unwrap()
    }

    fn config(&self, suites: Suites, resume: Option<Resumption>) -> ClientConfig {
        let mut config = ClientConfig::new(&*self.root_pem, "coap.example");
        (config.suites, config.resume, config.cid) = (suites, resume, Some(4));
        config
    }

    fn client(&self, seed: u64, suites: Suites, resume: Option<Resumption>) -> Client {
        Client::new(&self.config(suites, resume), Box::new(Seeded(seed))).unwrap()
    }

    /// Carries until both rest; the server says back what it hears. Gives what the client heard.
    fn carry(
        &mut self,
        endpoint: &mut Endpoint,
        client: &mut Client,
        from: SocketAddr,
    ) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        loop {
            let mut moved = false;
            loop {
                match client.poll(self.now()) {
                    ClientOutput::Datagram(bytes) => {
                        endpoint.feed(&bytes, from, self.now());
                        moved = true;
                    }
                    ClientOutput::Record(bytes) => heard.push(bytes),
                    ClientOutput::Event(event) => self.client_events.push(event),
                    ClientOutput::Wait(_) => break,
                }
            }
            loop {
                match endpoint.poll(self.now()) {
                    Output::Datagram { bytes, .. } => {
                        client.feed(&bytes, self.now());
                        moved = true;
                    }
                    Output::Record { session, bytes } => {
                        endpoint.send(session, &bytes, self.now()).unwrap()
                    }
                    Output::Event(event) => self.events.push(event),
                    Output::Wait(_) => break,
                }
            }
            if !moved {
                return heard;
            }
        }
    }

    fn say(&mut self, endpoint: &mut Endpoint, client: &mut Client, from: SocketAddr, text: &str) {
        client.send(text.as_bytes(), self.now()).unwrap();
        assert_eq!(self.carry(endpoint, client, from), [text.as_bytes()]);
    }
}

#[test]
fn one_life() {
    let mut town = Town::new();
    let at = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
    let mut resumption = None;
    for (seed, suites) in [
        (1, Suites::all()),
        (2, Suites::these(&[0xC0AE]).unwrap()),
        (3, Suites::these(&[0xC023]).unwrap()),
    ] {
        let saveable = seed != 3;
        let mut endpoint = town.endpoint(seed);
        let mut client = town.client(seed + 10, suites.clone(), None);
        client.connect(town.now());
        town.carry(&mut endpoint, &mut client, at(1));
        town.say(&mut endpoint, &mut client, at(1), "first");
        town.say(&mut endpoint, &mut client, at(2), "from another port");
        assert!(
            town.events
                .iter()
                .any(|event| matches!(event, Event::Moved { .. }))
        );
        resumption = client.resumption().or(resumption);

        // Mutated and cut records.
        client.send(b"spoilt", town.now()).unwrap();
        let ClientOutput::Datagram(datagram) = client.poll(town.now()) else {
            panic!("a record")
        };
        for index in 0..datagram.len() {
            let mut spoilt = datagram.clone();
            spoilt[index] ^= 0x55;
            endpoint.feed(&spoilt, at(3), town.now());
            endpoint.feed(&datagram[..index], at(3), town.now());
        }
        town.carry(&mut endpoint, &mut client, at(2));
        town.say(&mut endpoint, &mut client, at(2), "unmoved");

        let saved = endpoint.into_saved(town.now());
        assert_eq!(saved.len(), usize::from(saveable));
        let mut endpoint = town.endpoint(seed + 20);
        for session in saved {
            let bytes = session.to_bytes();
            drop(session);
            endpoint
                .load(SavedSession::from_bytes(&bytes).unwrap(), town.now())
                .unwrap();
        }
        if saveable {
            town.say(&mut endpoint, &mut client, at(4), "after the restart");
        }
        assert!(SavedSession::from_bytes(&[1, 2, 3]).is_err());

        let mut again = town.client(seed + 30, suites, client.resumption());
        again.connect(town.now());
        town.carry(&mut endpoint, &mut again, at(5));
        town.say(&mut endpoint, &mut again, at(5), "resumed");
        if saveable {
            let saved = again.save(town.now()).unwrap();
            let config = town.config(Suites::all(), None);
            again = Client::load(&config, Box::new(Seeded(seed + 40)), saved, town.now()).unwrap();
            town.say(
                &mut endpoint,
                &mut again,
                at(6),
                "the device was switched off",
            );
        }
        again.close(town.now());
        client.close(town.now());
        town.carry(&mut endpoint, &mut again, at(5));
        town.seconds += 1;
    }
    assert!(resumption.is_some());
    // A handshake nobody finishes.
    let (mut endpoint, mut client) = (town.endpoint(50), town.client(51, Suites::all(), None));
    client.connect(town.now());
    for _ in 0..3 {
        while let ClientOutput::Datagram(bytes) = client.poll(town.now()) {
            endpoint.feed(&bytes, at(6), town.now());
        }
        if let Output::Datagram { bytes, .. } = endpoint.poll(town.now()) {
            client.feed(&bytes, town.now());
        }
    }
}

/// No read of what was never written, no leak, nothing freed twice. Only when asked for by name: valgrind takes its time.
#[test]
#[ignore = "a long run; `make soak` asks for it"]
fn valgrind_finds_nothing() {
    let run = Command::new("valgrind")
        .args([
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect",
        ])
        .args([
            "--show-leak-kinds=definite,indirect",
            &format!("--error-exitcode={FOUND}"),
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["one_life", "--exact", "--test-threads=1"])
        .output();
    let Ok(run) = run else {
        assert!(
            !std::env::var("SECTAG_PEERS").is_ok_and(|value| value == "require"),
            "valgrind is not there"
        );
        return;
    };
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(said.contains("ERROR SUMMARY: 0 errors"), "{said}");
}
