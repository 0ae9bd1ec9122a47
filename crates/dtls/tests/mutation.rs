//! Real flights, changed: whatever arrives, both ends go on in peace, and a good client still gets through afterwards.
#![allow(clippy::unwrap_used)]

mod desk;

use std::time::Duration;

use desk::{Pki, Seeded, Table, Weather, address};
use proptest::prelude::*;
use sectag_dtls::{
    Client, ClientConfig, ClientOutput, Endpoint, Now, Output, ServerConfig, Suites,
};

/// A few thousand handshakes with changed datagrams in both directions, from one seed.
#[test]
fn two_thousand_changed_handshakes() {
    let pki = Pki::new();
    let mut server = pki.server();
    server.limits.sessions_max = 50;
    let mut table = Table::with(1, pki, server);
    let mut dice = Seeded::new(2);
    let suites = [
        Suites::all(),
        Suites::these(&[0xc023]).unwrap(),
        Suites::these(&[0xc0ae]).unwrap(),
    ];
    let mut resume = None;
    let (mut connected, mut failed) = (0, 0);
    for round in 0..2_000u64 {
        let cid = [Some(0), Some(5), None][(round % 3) as usize];
        let config = ClientConfig {
            cid,
            suites: suites[(round % 7 % 3) as usize].clone(),
            resume: resume.take(),
            ..table.pki.client()
        };
        let guest = table.guest(&config);
        table.guests[guest].address = address(round % 11);
        table.weather = Weather {
            change_percent: 10 + dice.below(40),
            loss_percent: dice.below(10),
            double_percent: 10,
            jitter_ms: 100,
        };
        let now = table.now();
        table.guests[guest].client.connect(now);
        table.pass(Duration::from_secs(8));
        if table.guests[guest].client.is_connected() {
            connected += 1;
            for _ in 0..3 {
                let now = table.now();
                let _ = table.guests[guest].client.send(b"are you there?", now);
                table.pass(Duration::from_millis(300));
            }
            resume = table.guests[guest].client.resumption();
        } else {
            failed += 1;
        }
        let now = table.now();
        table.guests[guest].client.close(now);
        table.pass(Duration::from_millis(500));
        table.guests.clear();
        table.wire.clear();
        table.events.clear();
        table.records.clear();
    }
    assert!(
        connected > 200 && failed > 20,
        "{connected} connected, {failed} failed"
    );
    table.weather = Weather::default();
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"as if nothing had happened");
}

/// The datagrams of a whole session, the server's and the client's, and both ends as they were at its start.
struct Recorded {
    server: Vec<Vec<u8>>,
    client: Vec<Vec<u8>>,
    config: ClientConfig,
    make: ServerConfig,
}

fn recorded() -> Recorded {
    let mut table = Table::new(3);
    let make = table.pki.server();
    table.endpoint = Some(Endpoint::new(copy(&make), Box::new(Seeded::new(3))).unwrap());
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    table.exchange(guest, b"world");
    let now = table.now();
    table.guests[guest].client.close(now);
    table.run();
    Recorded {
        server: table.sent_since(0, true),
        client: table.sent_since(0, false),
        config,
        make,
    }
}

fn copy(server: &ServerConfig) -> ServerConfig {
    ServerConfig {
        suites: server.suites.clone(),
        limits: server.limits,
        ..ServerConfig::new(server.identity.clone(), server.secret.clone())
    }
}

fn change(flights: &[Vec<u8>], (which, at, how, value): (usize, usize, u8, u8)) -> Vec<u8> {
    let mut bytes = flights[which % flights.len()].clone();
    let at = at % bytes.len();
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn changed_flights_harm_neither_end(
        steps in prop::collection::vec((any::<usize>(), any::<usize>(), any::<u8>(), any::<u8>()), 1..60),
        whole in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
    ) {
        thread_local!(static RECORDED: Recorded = recorded());
        RECORDED.with(|recorded| {
            let mut endpoint = Endpoint::new(copy(&recorded.make), Box::new(Seeded::new(3))).unwrap();
            let mut client = Client::new(&recorded.config, Box::new(Seeded::new(1_004))).unwrap();
            let mut now = Now { uptime: Duration::from_secs(1), unix_s: desk::TODAY_S + 1 };
            client.connect(now);
            for step in steps {
                endpoint.feed(&change(&recorded.client, step), address(step.0 as u64 % 3), now);
                client.feed(&change(&recorded.server, step), now);
                now.uptime += Duration::from_millis(step.1 as u64 % 700);
                drain(&mut endpoint, &mut client, now);
            }
            for garbage in whole {
                endpoint.feed(&garbage, address(0), now);
                client.feed(&garbage, now);
                drain(&mut endpoint, &mut client, now);
            }
            assert!(endpoint.sessions() <= 60);
        });
    }
}

fn drain(endpoint: &mut Endpoint, client: &mut Client, now: Now) {
    while !matches!(endpoint.poll(now), Output::Wait(_)) {}
    while !matches!(client.poll(now), ClientOutput::Wait(_)) {}
}
