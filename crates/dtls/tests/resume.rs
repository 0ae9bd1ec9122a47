//! Resumption by ticket and by session ID, also after a crash, and what cannot be resumed.
#![allow(clippy::unwrap_used)]

mod desk;

use std::time::Duration;

use desk::{Pki, Seeded, Table};
use sectag_dtls::{
    CachedSession, ClientConfig, ClientEvent, Endpoint, Event, MasterSecret, Resumed, Resumption,
    ServerConfig,
};

/// A server without tickets, so that sessions are resumed by ID as a modem may do it.
fn by_id(pki: &Pki) -> ServerConfig {
    ServerConfig {
        tickets: false,
        ..pki.server()
    }
}

fn again(table: &mut Table, guest: usize) -> Option<Resumed> {
    let resume = table.guests[guest].client.resumption();
    assert!(resume.is_some());
    let config = ClientConfig {
        resume,
        ..table.pki.client()
    };
    let next = table.connected(&config);
    table.exchange(next, b"hello");
    let ours = table.events.iter().rev().find_map(|event| match event {
        Event::Connected { resumed, .. } => Some(*resumed),
        _ => None,
    });
    let [
        ClientEvent::Connected {
            resumed, handshake, ..
        },
    ] = table.guests[next].events[..]
    else {
        panic!("{:?}", table.guests[next].events)
    };
    assert_eq!(ours, Some(resumed));
    assert!(
        resumed.is_none() || handshake.received < 400,
        "{handshake:?}"
    );
    resumed
}

#[test]
fn a_ticket_resumes() {
    let mut table = Table::new(1);
    let config = table.pki.client();
    let guest = table.connected(&config);
    assert_eq!(again(&mut table, guest), Some(Resumed::ByTicket));
    assert_eq!(again(&mut table, guest), Some(Resumed::ByTicket));
    assert_eq!(table.endpoint().counters().resumed_by_ticket, 2);
}

#[test]
fn a_session_id_resumes() {
    let pki = Pki::new();
    let server = by_id(&pki);
    let mut table = Table::with(2, pki, server);
    let config = table.pki.client();
    let guest = table.connected(&config);
    assert!(
        table
            .events
            .iter()
            .any(|event| matches!(event, Event::Cache { .. }))
    );
    assert_eq!(again(&mut table, guest), Some(Resumed::BySessionId));
    assert_eq!(table.endpoint().counters().resumed_by_session_id, 1);
}

/// The endpoint dies without a word; another one with the same secret takes its place.
fn crash(table: &mut Table, server: ServerConfig) {
    table.endpoint = None;
    table.endpoint = Some(Endpoint::new(server, Box::new(Seeded::new(999))).unwrap());
}

#[test]
fn tickets_outlive_a_crash() {
    let mut table = Table::new(3);
    let config = table.pki.client();
    let guest = table.connected(&config);
    let server = table.pki.server();
    crash(&mut table, server);
    assert_eq!(again(&mut table, guest), Some(Resumed::ByTicket));
    let other = ServerConfig::new(table.pki.identity(), MasterSecret::new([43; 32]));
    crash(&mut table, other);
    assert_eq!(again(&mut table, guest), None, "another home's ticket");
}

#[test]
fn remembered_session_ids_outlive_a_crash() {
    for remembered in [true, false] {
        let pki = Pki::new();
        let server = by_id(&pki);
        let mut table = Table::with(4, pki, server);
        let config = table.pki.client();
        let guest = table.connected(&config);
        let cached = table.events.iter().filter_map(|event| match event {
            Event::Cache { id, session } => Some((id.clone(), session.to_bytes())),
            _ => None,
        });
        let kept: Vec<_> = cached.collect();
        assert_eq!(kept.len(), 1);
        let server = by_id(&table.pki);
        crash(&mut table, server);
        table
            .endpoint()
            .remember(b"nonsense", &CachedSession::from_bytes(b"nonsense"));
        for (id, bytes) in kept.iter().filter(|_| remembered) {
            table
                .endpoint()
                .remember(id, &CachedSession::from_bytes(bytes));
        }
        assert_eq!(
            again(&mut table, guest),
            remembered.then_some(Resumed::BySessionId)
        );
    }
}

#[test]
fn what_is_too_old_is_not_resumed() {
    for server in [|pki: &Pki| pki.server(), by_id] {
        let pki = Pki::new();
        let mut config = server(&pki);
        config.limits.idle = Duration::from_secs(365 * 86_400);
        let mut table = Table::with(6, pki, config);
        let config = table.pki.client();
        let guest = table.connected(&config);
        table.pass(Duration::from_secs(6 * 86_400));
        assert!(again(&mut table, guest).is_some());
        table.pass(Duration::from_secs(2 * 86_400));
        assert_eq!(again(&mut table, guest), None);
    }
}

#[test]
fn a_resumption_is_kept_as_bytes() {
    let mut table = Table::new(7);
    let config = table.pki.client();
    let guest = table.connected(&config);
    let bytes = table.guests[guest].client.resumption().unwrap().to_bytes();
    let config = ClientConfig {
        resume: Some(Resumption::from_bytes(&bytes)),
        ..table.pki.client()
    };
    let next = table.connected(&config);
    assert!(matches!(
        table.guests[next].events[..],
        [ClientEvent::Connected {
            resumed: Some(Resumed::ByTicket),
            ..
        }]
    ));
    assert_eq!(
        format!("{:?}", Resumption::from_bytes(&bytes)),
        "Resumption(****)"
    );
    for len in 0..bytes.len() {
        let config = ClientConfig {
            resume: Some(Resumption::from_bytes(&bytes[..len])),
            ..table.pki.client()
        };
        assert!(
            sectag_dtls::Client::new(&config, Box::new(Seeded::new(1))).is_err(),
            "{len} bytes"
        );
    }
}

#[test]
fn a_resumed_session_has_a_connection_id_and_keys_of_its_own() {
    let mut table = Table::new(8);
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    let resume = table.guests[guest].client.resumption();
    let next = table.connected(&ClientConfig { resume, ..config });
    table.guests[next].address = desk::address(500);
    table.exchange(next, b"moved");
    table.exchange(guest, b"unmoved");
}

#[test]
fn no_cache_means_full_handshakes() {
    let mut table = Table::new(9);
    let config = ClientConfig {
        session_cache: false,
        ..table.pki.client()
    };
    let guest = table.connected(&config);
    assert!(table.guests[guest].client.resumption().is_none());
}
