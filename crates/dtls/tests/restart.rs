//! Sessions over an orderly restart: they go on, with the next sequence number, and nobody can go on with one twice.
#![allow(clippy::unwrap_used)]

mod desk;

use std::collections::HashSet;
use std::time::Duration;

use desk::{Pki, Seeded, Table, address};
use sectag_dtls::{
    Client, ClientConfig, CloseReason, Endpoint, Event, LoadError, Output, SavedSession,
    ServerConfig, Suites,
};
use zeroize::Zeroizing;

/// Ends the endpoint in order and starts another one, as a program does: through bytes.
fn restart(
    table: &mut Table,
    server: ServerConfig,
) -> Vec<Result<sectag_dtls::SessionKey, LoadError>> {
    let now = table.now();
    let saved = table.endpoint.take().unwrap().into_saved(now);
    let bytes: Vec<_> = saved.iter().map(SavedSession::to_bytes).collect();
    drop(saved);
    table.endpoint = Some(Endpoint::new(server, Box::new(Seeded::new(4711))).unwrap());
    table.pass(Duration::from_secs(3));
    let now = table.now();
    bytes
        .iter()
        .map(|bytes| {
            table
                .endpoint()
                .load(SavedSession::from_bytes(bytes).unwrap(), now)
        })
        .collect()
}

/// Epoch and sequence number, which are the explicit part of the nonce, of each encrypted record in a datagram of the server's.
fn nonces(datagram: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut found, mut rest) = (Vec::new(), datagram);
    while rest.len() > 13 {
        let len = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        if rest[3..5] == [0, 1] {
            assert!(
                [21, 22, 23].contains(&rest[0]),
                "our client asks for no CID in records to it"
            );
            // With GCM the first eight bytes of the content are the explicit nonce itself.
            found.push((rest[3..11].to_vec(), rest[13..21].to_vec()));
        }
        rest = &rest[13 + len..];
    }
    found
}

#[test]
fn sessions_go_on_without_a_handshake_and_no_nonce_is_used_twice() {
    let mut table = Table::new(1);
    let config = table.pki.client();
    let guests: Vec<_> = (0..20).map(|_| table.connected(&config)).collect();
    for (n, guest) in guests.iter().enumerate() {
        for _ in 0..n {
            table.exchange(*guest, b"before");
        }
    }
    let handshakes = table.endpoint().counters().handshakes_full;
    assert_eq!(handshakes, 20);
    let server = table.pki.server();
    let loaded = restart(&mut table, server);
    assert!(
        loaded.iter().all(Result::is_ok) && loaded.len() == 20,
        "{loaded:?}"
    );
    for (n, guest) in guests.iter().enumerate() {
        if n % 3 == 0 {
            table.guests[*guest].address = address(1000 + n as u64);
        }
        table.exchange(*guest, b"after");
        table.exchange(*guest, b"and again");
    }
    let counters = table.endpoint().counters();
    assert_eq!(
        (counters.handshakes_full, counters.sent.handshake_bytes),
        (0, 0)
    );
    assert_eq!(counters.moved, 7);
    // Over all that the server ever sent, per client: no epoch and sequence number twice, and no nonce twice.
    for guest in guests {
        let (mut numbers, mut explicit, mut all) = (HashSet::new(), HashSet::new(), 0);
        let here: HashSet<_> = [address(guest as u64), address(1000 + guest as u64)].into();
        for (_, _, bytes) in table
            .wire
            .iter()
            .filter(|(by_server, to, _)| *by_server && here.contains(to))
        {
            for (number, nonce) in nonces(bytes) {
                all += 1;
                assert!(
                    numbers.insert(number.clone()),
                    "client {guest}: record {number:?} twice"
                );
                assert!(
                    explicit.insert(nonce.clone()),
                    "client {guest}: nonce {nonce:?} twice"
                );
            }
        }
        assert_eq!(
            all,
            1 + guest + 2,
            "client {guest}: Finished and the answers"
        );
    }
}

#[test]
fn the_sequence_number_goes_on_where_it_stopped() {
    let mut table = Table::new(2);
    let config = table.pki.client();
    let guest = table.connected(&config);
    (0..5).for_each(|_| table.exchange(guest, b"count"));
    let now = table.now();
    let saved = table.endpoint.take().unwrap().into_saved(now).remove(0);
    // Epoch 1: Finished was record 0, then five answers.
    assert_eq!(saved.next_record(), (1 << 48) + 6);
    assert_eq!(
        (saved.peer, saved.cid.len()),
        (table.guests[guest].address, 8)
    );
    assert!(!format!("{saved:?}").contains("state"));
}

#[test]
fn a_session_that_was_replayed_before_is_replayed_after() {
    let mut table = Table::new(3);
    let config = table.pki.client();
    let guest = table.connected(&config);
    let mark = table.wire.len();
    table.exchange(guest, b"pay");
    let record = table.sent_since(mark, false).remove(0);
    let server = table.pki.server();
    restart(&mut table, server);
    let (from, heard) = (table.guests[guest].address, table.records.len());
    table.inject(from, &record);
    assert_eq!(table.records.len(), heard);
}

/// A table whose server has saved its one session and is gone.
fn saved(seed: u64) -> (Table, Zeroizing<Vec<u8>>) {
    let mut table = Table::new(seed);
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    let now = table.now();
    let endpoint = table.endpoint.take().unwrap();
    let bytes = endpoint.into_saved(now).remove(0).to_bytes();
    (table, bytes)
}

#[test]
fn one_session_is_not_loaded_twice() {
    let (table, bytes) = saved(4);
    let now = table.now();
    let mut endpoint = Endpoint::new(table.pki.server(), Box::new(Seeded::new(1))).unwrap();
    assert!(
        endpoint
            .load(SavedSession::from_bytes(&bytes).unwrap(), now)
            .is_ok()
    );
    assert_eq!(
        endpoint.load(SavedSession::from_bytes(&bytes).unwrap(), now),
        Err(LoadError::Twice)
    );
}

#[test]
fn a_session_nothing_was_said_in_goes_on_too() {
    let mut table = Table::new(5);
    let config = table.pki.client();
    let guest = table.connected(&config);
    let server = table.pki.server();
    assert_eq!(restart(&mut table, server).len(), 1);
    table.exchange(guest, b"first word");
}

#[test]
fn what_cannot_go_on_is_said() {
    let mut table = Table::new(6);
    let cbc = ClientConfig {
        suites: Suites::these(&[0xc023]).unwrap(),
        ..table.pki.client()
    };
    let guest = table.connected(&cbc);
    table.exchange(guest, b"CBC");
    let config = table.pki.client();
    let good = table.connected(&config);
    table.exchange(good, b"GCM");
    let now = table.now();
    let saved = table.endpoint.take().unwrap().into_saved(now);
    assert_eq!(saved.len(), 1, "a CBC session cannot be saved");
    let bytes = saved[0].to_bytes();
    let mut longer = table.pki.server();
    longer.cid_bytes = 9;
    let mut other = Endpoint::new(longer, Box::new(Seeded::new(1))).unwrap();
    assert_eq!(
        other.load(SavedSession::from_bytes(&bytes).unwrap(), now),
        Err(LoadError::CidLength)
    );
    let mut full = table.pki.server();
    full.limits.sessions_max = 0;
    let mut other = Endpoint::new(full, Box::new(Seeded::new(1))).unwrap();
    assert_eq!(
        other.load(SavedSession::from_bytes(&bytes).unwrap(), now),
        Err(LoadError::Full)
    );
    let mut other = Endpoint::new(table.pki.server(), Box::new(Seeded::new(1))).unwrap();
    let later = sectag_dtls::Now {
        unix_s: now.unix_s + 31 * 86_400,
        ..now
    };
    assert_eq!(
        other.load(SavedSession::from_bytes(&bytes).unwrap(), later),
        Err(LoadError::Idle)
    );
    let random = Box::new(Seeded::new(1));
    assert!(matches!(
        Client::load(
            &config,
            random,
            SavedSession::from_bytes(&bytes).unwrap(),
            now
        ),
        Err(LoadError::Garbage)
    ));
}

#[test]
fn idle_time_counts_on_over_a_restart() {
    let mut table = Table::new(7);
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    table.pass(Duration::from_secs(20 * 86_400));
    let server = table.pki.server();
    assert!(restart(&mut table, server)[0].is_ok());
    table.pass(Duration::from_secs(9 * 86_400));
    assert_eq!(table.endpoint().sessions(), 1);
    table.pass(Duration::from_secs(2 * 86_400));
    assert_eq!(table.endpoint().sessions(), 0);
    assert!(matches!(
        table.events.last(),
        Some(Event::Closed {
            reason: CloseReason::Idle,
            ..
        })
    ));
}

#[test]
fn a_client_goes_on_after_its_own_restart() {
    for cid in [Some(0), Some(4), None] {
        let mut table = Table::new(8);
        let config = ClientConfig {
            cid,
            ..table.pki.client()
        };
        let guest = table.connected(&config);
        table.exchange(guest, b"before");
        let now = table.now();
        let spare = Client::new(&config, Box::new(Seeded::new(1))).unwrap();
        let bytes = std::mem::replace(&mut table.guests[guest].client, spare)
            .save(now)
            .unwrap()
            .to_bytes();
        let saved = SavedSession::from_bytes(&bytes).unwrap();
        table.guests[guest].client =
            Client::load(&config, Box::new(Seeded::new(2)), saved, now).unwrap();
        table.exchange(guest, b"after");
        assert_eq!(table.endpoint().counters().handshakes_full, 1);
    }
    let pki = Pki::new();
    assert!(
        Client::new(&pki.client(), Box::new(Seeded::new(1)))
            .unwrap()
            .save(Table::new(1).now())
            .is_none()
    );
}

#[test]
fn bytes_that_are_no_session_are_refused() {
    let (table, bytes) = saved(9);
    let now = table.now();
    for len in 0..bytes.len() {
        assert_eq!(
            SavedSession::from_bytes(&bytes[..len]).err(),
            Some(LoadError::Garbage),
            "{len} bytes"
        );
    }
    // Each byte changed: refused, or a session that fails in peace.
    let mut endpoint = Endpoint::new(table.pki.server(), Box::new(Seeded::new(1))).unwrap();
    let mut loaded = 0;
    for at in 0..bytes.len() {
        for bit in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            if let Ok(saved) = SavedSession::from_bytes(&changed)
                && let Ok(session) = endpoint.load(saved, now)
            {
                loaded += 1;
                let _ = endpoint.send(session, b"hello", now);
                endpoint.close(session, now);
            }
        }
    }
    assert!(
        loaded > 300,
        "{loaded}: keys and counters are not checked, they are sealed"
    );
}

#[test]
fn a_session_without_connection_id_keeps_its_address_and_is_not_loaded_twice() {
    let mut table = Table::new(10);
    let config = table.pki.client();
    let mover = table.connected(&config);
    table.exchange(mover, b"first");
    let plain = ClientConfig {
        cid: None,
        ..config.clone()
    };
    let guest = table.connected(&plain);
    table.exchange(guest, b"by address");
    // The other moves to the same address, as behind a proxy, and is loaded first.
    table.guests[mover].address = table.guests[guest].address;
    table.say(mover, b"moved");
    let now = table.now();
    let saved = table.endpoint.take().unwrap().into_saved(now);
    let bytes: Vec<_> = saved.iter().map(SavedSession::to_bytes).collect();
    assert_eq!(saved[0].peer, saved[1].peer);
    drop(saved);
    let server = table.pki.server();
    let mut endpoint = Endpoint::new(server, Box::new(Seeded::new(1))).unwrap();
    for bytes in &bytes {
        let saved = SavedSession::from_bytes(bytes).unwrap();
        assert!(endpoint.load(saved, now).is_ok());
    }
    for bytes in &bytes {
        let saved = SavedSession::from_bytes(bytes).unwrap();
        assert_eq!(endpoint.load(saved, now), Err(LoadError::Twice));
    }
    assert_eq!(endpoint.sessions(), 2);
    table.endpoint = Some(endpoint);
    table.guests[mover].address = address(77);
    table.exchange(guest, b"still by address");
    table.exchange(mover, b"still by its Connection ID");
}

#[test]
fn idle_time_counts_on_when_uptime_begins_anew() {
    let mut table = Table::new(11);
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    let mut bytes = table
        .endpoint
        .take()
        .unwrap()
        .into_saved(table.now())
        .remove(0)
        .to_bytes();
    let heard_s = table.now().unix_s;
    // Three programs, each ten days long and with a clock of its own.
    for life in 1..=3 {
        let server = table.pki.server();
        let mut endpoint = Endpoint::new(server, Box::new(Seeded::new(life))).unwrap();
        let at = |uptime_s: u64| sectag_dtls::Now {
            uptime: Duration::from_secs(uptime_s),
            unix_s: heard_s + (life - 1) * 864_000 + uptime_s,
        };
        let saved = SavedSession::from_bytes(&bytes).unwrap();
        endpoint.load(saved, at(1)).unwrap();
        while !matches!(endpoint.poll(at(863_999)), Output::Wait(_)) {}
        assert_eq!(endpoint.sessions(), 1, "life {life}");
        if life < 3 {
            bytes = endpoint.into_saved(at(863_999)).remove(0).to_bytes();
        } else {
            while !matches!(endpoint.poll(at(864_001)), Output::Wait(_)) {}
            assert_eq!(endpoint.sessions(), 0);
        }
    }
}

#[test]
fn the_session_idle_for_the_longest_time_makes_room_after_a_restart_too() {
    let mut table = Table::new(12);
    let config = table.pki.client();
    let guests: Vec<_> = (0..3).map(|_| table.connected(&config)).collect();
    for guest in [guests[1], guests[2], guests[0]] {
        table.pass(Duration::from_secs(100));
        table.exchange(guest, b"hello");
    }
    let mut server = table.pki.server();
    server.limits.sessions_max = 3;
    assert!(restart(&mut table, server).iter().all(Result::is_ok));
    table.connected(&config);
    table.exchange(guests[0], b"heard last");
    table.exchange(guests[2], b"heard before");
    table.say(guests[1], b"evicted");
    assert_eq!(table.endpoint().counters().dropped_unknown, 1);
}
