//! A real session's datagrams, changed, into a DTLS endpoint and a client: no panic, no more sessions than hellos, and whatever an
//! endpoint says before a cookie is proven is shorter than what it answers.
#![no_main]

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sectag_dtls::{
    Client, ClientConfig, ClientOutput, Endpoint, Identity, MasterSecret, Now, Output, Random,
    ServerConfig,
};
use sectag_pki::{Authority, PrivateKey, ServerName};

/// 2026-11-21.
const TODAY_S: u64 = 1_795_219_200;

struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 33) as u8;
        }
    }
}

struct Recorded {
    identity: Identity,
    config: ClientConfig,
    server: Vec<Vec<u8>>,
    client: Vec<Vec<u8>>,
}

impl Recorded {
    fn endpoint(&self) -> Endpoint {
        let mut config = ServerConfig::new(self.identity.clone(), MasterSecret::new([7; 32]));
        config.limits.sessions_max = 8;
        Endpoint::new(config, Box::new(Counting(1))).expect("a usable configuration")
    }

    fn client(&self) -> Client {
        Client::new(&self.config, Box::new(Counting(2))).expect("a usable configuration")
    }

    /// A handshake, two exchanges and a close_notify, as they are when nobody interferes.
    fn make() -> Self {
        let authority = Authority::root("fuzz", TODAY_S - 1000).expect("a root");
        let key = PrivateKey::generate().expect("a key");
        let names = [ServerName::Dns("fuzz.example".to_owned())];
        let leaf = authority
            .issue_server(&key.spki_der(), &names, TODAY_S)
            .expect("a leaf");
        let identity = Identity::from_pem(&leaf.pem(), &key.to_pem()).expect("an identity");
        let config = ClientConfig {
            cid: Some(4),
            ..ClientConfig::new(authority.certificate_pem(), "fuzz.example")
        };
        let mut recorded = Self {
            identity,
            config,
            server: Vec::new(),
            client: Vec::new(),
        };
        let (mut endpoint, mut client) = (recorded.endpoint(), recorded.client());
        let now = now(0);
        client.connect(now);
        for round in 0..12 {
            if [8, 9].contains(&round) {
                client.send(b"hello", now).expect("connected");
            } else if round == 11 {
                client.close(now);
            }
            while let ClientOutput::Datagram(bytes) = next(
                || client.poll(now),
                |output| !matches!(output, ClientOutput::Datagram(_) | ClientOutput::Wait(_)),
            ) {
                endpoint.feed(&bytes, address(0), now);
                recorded.client.push(bytes);
            }
            loop {
                match endpoint.poll(now) {
                    Output::Datagram { bytes, .. } => {
                        client.feed(&bytes, now);
                        recorded.server.push(bytes);
                    }
                    Output::Record { session, bytes } => {
                        endpoint.send(session, &bytes, now).expect("connected")
                    }
                    Output::Event(_) => {}
                    Output::Wait(_) => break,
                }
            }
        }
        recorded
    }
}

/// Skips what is not wanted.
fn next<T>(mut poll: impl FnMut() -> T, skip: impl Fn(&T) -> bool) -> T {
    loop {
        let output = poll();
        if !skip(&output) {
            return output;
        }
    }
}

fn now(ms: u64) -> Now {
    Now {
        uptime: Duration::from_millis(1_000 + ms),
        unix_s: TODAY_S + 1 + ms / 1000,
    }
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 1000))
}

fn change(flights: &[Vec<u8>], which: u8, how: u8, at: u16, value: u8) -> Vec<u8> {
    let mut bytes = flights[usize::from(which) % flights.len()].clone();
    let at = usize::from(at) % bytes.len();
    match how % 6 {
        0 => bytes[at] = value,
        1 => bytes[at] ^= 1 << (value % 8),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, value),
        4 => bytes.extend_from_slice(&flights[usize::from(value) % flights.len()]),
        _ => {}
    }
    bytes
}

thread_local!(static RECORDED: OnceCell<Recorded> = const { OnceCell::new() });

fuzz_target!(|input: (Vec<(u8, u8, u16, u8)>, Vec<&[u8]>)| {
    RECORDED.with(|recorded| {
        let recorded = recorded.get_or_init(Recorded::make);
        let (mut endpoint, mut client) = (recorded.endpoint(), recorded.client());
        let mut at = 0;
        client.connect(now(at));
        let (steps, raw) = input;
        let changed = steps.iter().map(|(which, how, place, value)| {
            (
                change(&recorded.client, *which, *how, *place, *value),
                change(&recorded.server, *which, *how, *place, *value),
                *value,
            )
        });
        let garbage = raw.iter().map(|bytes| (bytes.to_vec(), bytes.to_vec(), 0));
        for (to_server, to_client, value) in changed.chain(garbage).take(200) {
            endpoint.feed(&to_server, address(value % 2), now(at));
            client.feed(&to_client, now(at));
            at += u64::from(value) * 4;
            while !matches!(endpoint.poll(now(at)), Output::Wait(_)) {}
            while !matches!(client.poll(now(at)), ClientOutput::Wait(_)) {}
            assert!(endpoint.sessions() <= 8);
        }
        for saved in endpoint.into_saved(now(at)) {
            let _ = recorded.endpoint().load(saved, now(at));
        }
    });
});
