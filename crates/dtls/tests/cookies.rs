//! Nothing is kept for anybody who has not shown that it hears us.
#![allow(clippy::unwrap_used)]

mod desk;

use std::time::Duration;

use desk::{Pki, Seeded, Table, address};
use sectag_dtls::{Client, ClientConfig, ClientOutput, Limits, MasterSecret, ServerConfig, Suites};

/// The first and the second ClientHello of a client, and the HelloVerifyRequest between them.
fn hellos(table: &mut Table, from: u64, seed: u64) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let config = table.pki.client();
    hellos_of(table, &config, from, seed)
}

fn hellos_of(
    table: &mut Table,
    config: &ClientConfig,
    from: u64,
    seed: u64,
) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut client = Client::new(config, Box::new(Seeded::new(seed))).unwrap();
    let now = table.now();
    client.connect(now);
    let ClientOutput::Datagram(first) = client.poll(now) else {
        panic!()
    };
    let mark = table.wire.len();
    table.inject(address(from), &first);
    let verify = table.wire[mark..]
        .iter()
        .find(|(server, to, _)| *server && *to == address(from))
        .unwrap()
        .2
        .clone();
    while !matches!(client.poll(now), ClientOutput::Wait(_)) {}
    client.feed(&verify, now);
    let ClientOutput::Datagram(second) = client.poll(now) else {
        panic!()
    };
    (first, verify, second)
}

#[test]
fn a_flood_of_hellos_leaves_no_trace() {
    let mut table = Table::new(1);
    let (first, verify, _) = hellos(&mut table, 1, 1);
    assert!(
        verify.len() < first.len() / 2,
        "no amplification: {} for {}",
        verify.len(),
        first.len()
    );
    for n in 0..5_000 {
        let now = table.now();
        table.endpoint().feed(&first, address(n), now);
        while !matches!(table.endpoint().poll(now), sectag_dtls::Output::Wait(None)) {}
    }
    let counters = table.endpoint().counters();
    assert_eq!(
        (table.endpoint().sessions(), counters.cookies_sent),
        (0, 5_001)
    );
    assert!(counters.sent.handshake_bytes < counters.received.handshake_bytes);
}

#[test]
fn a_cookie_is_good_for_its_address_its_random_and_its_time() {
    let mut table = Table::new(2);
    let (_, _, second) = hellos(&mut table, 1, 1);
    // Another port, another address.
    for other in [2, 60_001] {
        table.inject(address(other), &second);
        assert_eq!(table.endpoint().sessions(), 0);
    }
    // Another random.
    let mut changed = second.clone();
    changed[13 + 12 + 2 + 5] ^= 1;
    table.inject(address(1), &changed);
    assert_eq!(
        (
            table.endpoint().sessions(),
            table.endpoint().counters().cookies_refused
        ),
        (0, 3)
    );
    // Each got a cookie of its own; with the right one a handshake begins.
    assert_eq!(table.endpoint().counters().cookies_sent, 4);
    let now = table.now();
    table.endpoint().feed(&second, address(1), now);
    assert_eq!(table.endpoint().sessions(), 1);

    let mut table = Table::new(2);
    let (_, _, second) = hellos(&mut table, 1, 1);
    table.pass(Duration::from_secs(121));
    table.inject(address(1), &second);
    assert_eq!(
        (
            table.endpoint().sessions(),
            table.endpoint().counters().cookies_refused
        ),
        (0, 1)
    );
}

#[test]
fn a_client_whose_cookie_grew_old_gets_another_and_connects() {
    let mut table = Table::new(3);
    let config = table.pki.client();
    let guest = table.guest(&config);
    let now = table.now();
    table.guests[guest].client.connect(now);
    table.pass(Duration::from_millis(30)); // the cookie is on its way
    table.unix_s += 3_600; // the calendar is set
    table.run();
    assert!(
        table.guests[guest].client.is_connected(),
        "{:?}",
        table.guests[guest].events
    );
    assert_eq!(table.endpoint().counters().cookies_refused, 1);
}

#[test]
fn handshakes_under_way_are_bounded_and_the_young_are_spared() {
    let pki = Pki::new();
    let limits = Limits {
        handshakes_max: 3,
        ..Limits::default()
    };
    let server = ServerConfig {
        limits,
        ..pki.server()
    };
    let mut table = Table::with(4, pki, server);
    let hellos: Vec<_> = (0..5).map(|n| hellos(&mut table, n, 10 + n).2).collect();
    let now = table.now();
    for (n, second) in hellos.iter().enumerate() {
        table.endpoint().feed(second, address(n as u64), now);
    }
    assert_eq!(
        (
            table.endpoint().sessions(),
            table.endpoint().counters().dropped_busy
        ),
        (3, 2)
    );
    // After five seconds they have had their chance.
    table.pass(Duration::from_secs(6));
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
}

#[test]
fn the_session_idle_for_the_longest_time_makes_room() {
    let pki = Pki::new();
    let limits = Limits {
        sessions_max: 4,
        ..Limits::default()
    };
    let server = ServerConfig {
        limits,
        ..pki.server()
    };
    let mut table = Table::with(5, pki, server);
    let config = table.pki.client();
    let guests: Vec<_> = (0..4).map(|_| table.connected(&config)).collect();
    for guest in [0, 2, 3] {
        table.pass(Duration::from_secs(1));
        table.exchange(guests[guest], b"busy");
    }
    let fifth = table.connected(&config);
    table.exchange(fifth, b"hello");
    assert_eq!(
        (
            table.endpoint().sessions(),
            table.endpoint().counters().evicted
        ),
        (4, 1)
    );
    for guest in [0, 2, 3] {
        table.exchange(guests[guest], b"still here");
    }
    table.say(guests[1], b"not any more");
    assert!(table.guests[guests[1]].records.is_empty());
}

#[test]
fn what_waits_to_be_polled_is_bounded() {
    let pki = Pki::new();
    let limits = Limits {
        queued_bytes_max: 10_000,
        ..Limits::default()
    };
    let server = ServerConfig {
        limits,
        ..pki.server()
    };
    let mut table = Table::with(6, pki, server);
    let config = table.pki.client();
    let guest = table.connected(&config);
    let (session, now) = (table.session(), table.now());
    let mut taken = 0;
    while table.endpoint().send(session, &[0; 1000], now).is_ok() && taken < 100 {
        taken += 1;
    }
    assert!(taken < 15, "{taken}");
    table.run();
    table.exchange(guest, b"goes on");
}

#[test]
fn a_full_handshake_is_known_before_it_is_fed() {
    let mut table = Table::new(5);
    let (first, _, second) = hellos(&mut table, 1, 1);
    let now = table.now();
    let mut opens = |bytes: &[u8], from: u64| {
        let before = table.endpoint().counters();
        let opens = table.endpoint().opens_handshake(bytes, address(from), now);
        assert_eq!(table.endpoint().counters(), before, "it only looks");
        opens
    };
    assert!(!opens(&first, 1), "without a cookie");
    assert!(!opens(&second, 2), "with the cookie of another address");
    assert!(!opens(b"nonsense", 1));
    assert!(opens(&second, 1));
    table.endpoint().feed(&second, address(1), now);
    assert!(
        !table.endpoint().opens_handshake(&second, address(1), now),
        "it is under way"
    );

    // What resumes a session is none; a ticket of another server is no ticket.
    let config = table.pki.client();
    let guest = table.connected(&config);
    let resume = table.guests[guest].client.resumption();
    let config = ClientConfig { resume, ..config };
    let (_, _, second) = hellos_of(&mut table, &config, 3, 3);
    let now = table.now();
    assert!(!table.endpoint().opens_handshake(&second, address(3), now));
    let pki = Pki::new();
    let server = ServerConfig {
        secret: MasterSecret::new([9; 32]),
        ..pki.server()
    };
    let mut other = Table::with(6, pki, server);
    let (_, _, second) = hellos_of(&mut other, &config, 3, 3);
    let now = other.now();
    assert!(other.endpoint().opens_handshake(&second, address(3), now));
}

#[test]
fn nobody_begins_a_handshake_unseen() {
    let mut table = Table::new(7);
    let (_, _, second) = hellos(&mut table, 1, 1);
    let (_, _, another) = hellos(&mut table, 1, 2);
    let now = table.now();
    // Behind another record.
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0];
    let hidden = [&alert[..], &second].concat();
    assert!(table.endpoint().opens_handshake(&hidden, address(1), now));
    // In place of a handshake that is under way.
    table.endpoint().feed(&second, address(1), now);
    assert_eq!(table.endpoint().sessions(), 1);
    assert!(!table.endpoint().opens_handshake(&second, address(1), now));
    assert!(table.endpoint().opens_handshake(&another, address(1), now));
    // Behind a copy, which is all that is taken of such a datagram.
    let both = [&second[..], &another].concat();
    assert!(!table.endpoint().opens_handshake(&both, address(1), now));
    let before = table.endpoint().counters();
    table.endpoint().feed(&both, address(1), now);
    let after = table.endpoint().counters();
    assert_eq!(after.handshakes_failed, before.handshakes_failed);
    assert_eq!(after.dropped_garbage, before.dropped_garbage + 1);
    // In a datagram too large to be kept by whoever lets handshakes in.
    let large = [&another[..], &[0; 1500]].concat();
    table.endpoint().feed(&large, address(1), now);
    assert_eq!(
        table.endpoint().counters().handshakes_failed,
        before.handshakes_failed
    );
    // A copy of the ClientHello that began a session.
    let config = table.pki.client();
    let mark = table.wire.len();
    let guest = table.connected(&config);
    let hello = table.sent_since(mark, false).swap_remove(1);
    let (from, now) = (table.guests[guest].address, table.now());
    assert!(!table.endpoint().opens_handshake(&hello, from, now));
}

#[test]
fn a_hello_that_names_a_session_and_cannot_go_on_with_it_begins_a_full_handshake() {
    for tickets in [true, false] {
        let pki = Pki::new();
        let server = ServerConfig {
            tickets,
            ..pki.server()
        };
        let mut table = Table::with(8, pki, server);
        let config = table.pki.client();
        let guest = table.connected(&config);
        let resume = table.guests[guest].client.resumption();
        let config = ClientConfig { resume, ..config };
        let mut from = 10;
        let mut opens = |table: &mut Table, config: &ClientConfig| {
            from += 1;
            let (_, _, second) = hellos_of(table, config, from, from);
            let now = table.now();
            table
                .endpoint()
                .opens_handshake(&second, address(from), now)
        };
        assert!(!opens(&mut table, &config));
        // Under another suite a session ID resumes nothing; a ticket does.
        let other = ClientConfig {
            suites: Suites::these(&[0xc0ae]).unwrap(),
            ..config.clone()
        };
        assert_eq!(opens(&mut table, &other), !tickets);
        // Too old, though the key of a ticket is still known.
        table.pass(Duration::from_secs(7 * 86_400 + 600));
        assert!(opens(&mut table, &config));
        let again = table.guest(&config);
        table.connect(again);
        assert_eq!(table.endpoint().counters().handshakes_full, 2);
    }
}
