//! A peer's address under a Connection ID: what moves it, what does not, and what may be sent to a place nobody has answered from.
#![allow(clippy::unwrap_used)]

mod desk;

use desk::{Table, address};
use sectag_dtls::{CloseReason, Event, Limits, ServerConfig};

/// A client that has said one thing; its next record is returned, not delivered.
fn with_record_in_hand(table: &mut Table, guest: usize, bytes: &[u8]) -> Vec<u8> {
    let now = table.now();
    table.guests[guest].client.send(bytes, now).unwrap();
    match table.guests[guest].client.poll(now) {
        sectag_dtls::ClientOutput::Datagram(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn moves(table: &Table) -> usize {
    table
        .events
        .iter()
        .filter(|event| matches!(event, Event::Moved { .. }))
        .count()
}

#[test]
fn a_session_goes_on_from_every_new_address() {
    let mut table = Table::new(1);
    let config = table.pki.client();
    let guest = table.connected(&config);
    for n in 1..=20 {
        let old = table.guests[guest].address;
        table.guests[guest].address = address(100 + n);
        table.exchange(guest, b"from somewhere else");
        let Some(Event::Moved { from, to, .. }) = table.events.last() else {
            panic!("{:?}", table.events)
        };
        assert_eq!((*from, *to), (old, table.guests[guest].address));
        table.exchange(guest, b"once more");
    }
    assert_eq!(
        (
            moves(&table),
            table.endpoint().sessions(),
            table.endpoint().counters().moved
        ),
        (20, 1, 20)
    );
}

#[test]
fn forged_replayed_and_old_records_move_nothing() {
    let mut table = Table::new(2);
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    let home = table.guests[guest].address;

    let old = with_record_in_hand(&mut table, guest, b"held back");
    table.exchange(guest, b"overtakes it");
    let heard = table.records.len();

    // Forged in every byte behind the Connection ID, and in the epoch and sequence number.
    let fresh = with_record_in_hand(&mut table, guest, b"fresh");
    for at in (3..11).chain(19..fresh.len()) {
        let mut forged = fresh.clone();
        forged[at] ^= 0x40;
        table.inject(address(50), &forged);
    }
    assert_eq!((moves(&table), table.records.len()), (0, heard));

    // An older record that was not seen before: heard, but its sender's place is not the peer's.
    table.inject(address(50), &old);
    assert_eq!((moves(&table), table.records.len()), (0, heard + 1));
    assert_eq!(table.wire.last().unwrap().1, home, "answered at home");

    // A fresh one moves, its copy does not.
    table.inject(address(51), &fresh);
    assert_eq!((moves(&table), table.records.len()), (1, heard + 2));
    table.inject(address(52), &fresh);
    table.inject(address(52), &old);
    assert_eq!((moves(&table), table.records.len()), (1, heard + 2));
    table.exchange(guest, b"home again");
    assert_eq!(moves(&table), 2);
}

#[test]
fn an_unknown_connection_id_is_nobody() {
    let mut table = Table::new(3);
    let config = table.pki.client();
    let guest = table.connected(&config);
    let mut record = with_record_in_hand(&mut table, guest, b"hello");
    record[11] ^= 1;
    let from = table.guests[guest].address;
    table.inject(from, &record);
    assert_eq!(
        (
            table.records.len(),
            table.endpoint().counters().dropped_unknown
        ),
        (0, 1)
    );
}

#[test]
fn without_connection_id_an_address_does_not_move() {
    let mut table = Table::new(4);
    let config = sectag_dtls::ClientConfig {
        cid: None,
        ..table.pki.client()
    };
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    table.guests[guest].address = address(60);
    table.say(guest, b"lost");
    assert_eq!((moves(&table), table.records.len()), (0, 1));
}

/// A table whose endpoint allows `bytes` more than received, and a session just moved by a record of 1 byte.
fn moved(bytes: u32) -> (Table, usize, usize) {
    let pki = desk::Pki::new();
    let limits = Limits {
        unproven_path_bytes: bytes,
        ..Limits::default()
    };
    let server = ServerConfig {
        limits,
        ..pki.server()
    };
    let mut table = Table::with(5, pki, server);
    table.echo = false;
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.say(guest, b"?");
    table.guests[guest].address = address(70);
    let mark = table.wire.len();
    table.say(guest, b"!");
    assert_eq!(moves(&table), 1);
    (table, guest, mark)
}

#[test]
fn an_unproven_path_gets_no_more_than_it_paid_for() {
    let (mut table, guest, mark) = moved(0);
    let (session, now) = (table.session(), table.now());
    table.endpoint().send(session, b"!", now).unwrap();
    table.endpoint().send(session, b"too much", now).unwrap();
    table.run();
    let (received, sent) = (
        table.sent_since(mark, false).concat().len(),
        table.sent_since(mark, true).concat().len(),
    );
    assert!(sent > 0 && sent <= received, "{sent} for {received}");
    // The peer goes on from there: what waited is sent.
    table.say(guest, b"I am here");
    assert_eq!(
        table.guests[guest].records,
        [b"!".to_vec(), b"too much".to_vec()]
    );
}

#[test]
fn the_answer_to_the_record_that_moved_can_leave() {
    let (mut table, guest, mark) = moved(1200);
    let (session, now) = (table.session(), table.now());
    table.endpoint().send(session, &[5; 1100], now).unwrap();
    table.endpoint().send(session, &[6; 1100], now).unwrap();
    table.run();
    assert_eq!(table.guests[guest].records, [vec![5; 1100]]);
    assert!(table.sent_since(mark, true).concat().len() < 1300);
    table.say(guest, b"more");
    assert_eq!(table.guests[guest].records, [vec![5; 1100], vec![6; 1100]]);
}

#[test]
fn a_peer_that_reboots_gets_a_new_session_and_the_old_one_ends_then() {
    let mut table = Table::new(6);
    let config = sectag_dtls::ClientConfig {
        cid: None,
        ..table.pki.client()
    };
    let guest = table.connected(&config);
    table.exchange(guest, b"before");
    let old = table.session();
    table.connect(guest); // forgets all, same address
    assert!(table.guests[guest].client.is_connected());
    assert!(table.session() > old);
    table.exchange(guest, b"after");
    let over = |event: &Event| matches!(event, Event::Closed { session, reason: CloseReason::Replaced, .. } if *session == old);
    assert!(table.events.iter().any(over), "{:?}", table.events);
    assert_eq!(table.endpoint().sessions(), 1);
}

#[test]
fn an_address_given_to_another_device_ends_no_session_with_connection_id() {
    let mut table = Table::new(7);
    let config = table.pki.client();
    let (one, two) = (table.connected(&config), table.guest(&config));
    let shared = table.guests[one].address;
    table.exchange(one, b"first at this address");
    table.guests[one].address = address(80);
    table.guests[two].address = shared;
    table.connect(two);
    table.exchange(two, b"second at this address");
    table.exchange(one, b"still known by my CID");
    table.exchange(two, b"so am I");
    assert_eq!(table.endpoint().sessions(), 2);
    // The same device over and over leaves one session behind, not many.
    for _ in 0..5 {
        table.connect(two);
        table.exchange(two, b"again");
    }
    assert_eq!(table.endpoint().sessions(), 3);
}

#[test]
fn forged_and_repeated_hellos_end_no_session() {
    for cid in [None, Some(0)] {
        let mut table = Table::new(8);
        let config = sectag_dtls::ClientConfig {
            cid,
            ..table.pki.client()
        };
        let guest = table.connected(&config);
        table.exchange(guest, b"hello");
        let home = table.guests[guest].address;
        // All the client ever sent, once more, and garbage in its name.
        let flights = table.sent_since(0, false);
        for datagram in &flights {
            table.inject(home, datagram);
            let mut changed = datagram.clone();
            changed[20] ^= 1;
            table.inject(home, &changed);
        }
        // Fatal alert and close_notify without a key.
        table.inject(home, &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 9, 9, 0, 2, 2, 40]);
        table.inject(home, &[21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 9, 9, 0, 2, 1, 0]);
        table.exchange(guest, b"unmoved");
        assert_eq!(table.endpoint().sessions(), 1, "{:?}", table.events);
    }
}

#[test]
fn a_late_record_of_the_old_session_does_not_end_the_new_handshake() {
    let mut table = Table::new(9);
    let config = sectag_dtls::ClientConfig {
        cid: None,
        ..table.pki.client()
    };
    let guest = table.connected(&config);
    let mark = table.wire.len();
    table.exchange(guest, b"before");
    let late = table.sent_since(mark, false).remove(0);
    let (home, now) = (table.guests[guest].address, table.now());
    table.guests[guest].client.connect(now);
    // Between any two datagrams of the new handshake, in both directions.
    for _ in 0..60 {
        let now = table.now();
        table.endpoint().feed(&late, home, now);
        table.guests[guest].client.feed(&late, now);
        table.pass(std::time::Duration::from_millis(5));
    }
    table.run();
    assert!(
        table.guests[guest].client.is_connected(),
        "{:?}",
        table.events
    );
    table.exchange(guest, b"after");
}
