//! Strangers judge the endpoint on a real socket: `purecrypto` with Connection ID, `openssl s_client`, `gnutls-cli`.
//!
//! Without the programs these tests say so in one line and pass; with `SECTAG_PEERS=require` they fail.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub
)]

#[path = "../../../tests/peers/dtls/door.rs"]
mod door;
#[path = "../../../tests/peers/dtls/foreign.rs"]
mod foreign;
#[path = "../../../tests/peers/dtls/tools.rs"]
mod tools;

use door::{Door, Papers};
use foreign::{Foreign, Nonces, PATIENCE};
use sectag_dtls::{Event, Resumed, SavedSession, Suites};
use std::net::UdpSocket;
use std::time::Duration;
use tools::{Desk, Tool, have, say_and_hear};

const AES_128_GCM: u16 = 0xC02B;
const A_MOMENT: Duration = Duration::from_millis(300);

/// How each session came to be: resumed how, suite, with a Connection ID.
fn connections(door: &Door) -> Vec<(Option<Resumed>, u16, bool)> {
    door.events(|event| match event {
        Event::Connected {
            resumed,
            suite,
            cid,
            ..
        } => Some((*resumed, *suite, *cid)),
        _ => None,
    })
}

fn moves(door: &Door) -> usize {
    door.events(|event| matches!(event, Event::Moved { .. }).then_some(()))
        .len()
}

fn assert_no_number_twice(clients: &[Foreign]) {
    let mut nonces = Nonces::default();
    for (key, client) in clients.iter().enumerate() {
        nonces.add(key as u64, &client.heads);
    }
    assert!(nonces.records() > 0);
    nonces.assert_never_twice();
}

#[test]
fn a_foreign_client_keeps_its_session_on_new_ports() {
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let mut client = Foreign::connect(&door.server(&papers), None).unwrap();
    assert_eq!(client.suite(), AES_128_GCM);
    assert_eq!(client.server_cid().map(|cid| cid.len()), Some(8));
    assert_eq!(client.ask(b"first").as_deref(), Some(&b"first"[..]));
    for round in 0..3 {
        client.rebind();
        for half in 0..2 {
            let said = format!("round {round} half {half}");
            assert_eq!(
                client.ask(said.as_bytes()).as_deref(),
                Some(said.as_bytes())
            );
        }
    }
    client.close();
    door.until("closed", |_| {
        !door
            .events(|event| matches!(event, Event::Closed { .. }).then_some(()))
            .is_empty()
    });
    assert_eq!(connections(&door), [(None, AES_128_GCM, true)]);
    assert_eq!(moves(&door), 3);
    assert_no_number_twice(&[client]);
}

#[test]
fn without_a_connection_id_a_new_port_is_a_stranger() {
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let mut client = Foreign::connect_as(&door.server(&papers), None, false).unwrap();
    assert_eq!(client.server_cid(), None);
    assert_eq!(client.ask(b"here").as_deref(), Some(&b"here"[..]));
    client.rebind();
    client.send(b"there");
    assert_eq!(client.receive(A_MOMENT), None);
    assert_eq!(moves(&door), 0);
}

#[test]
fn an_address_moves_only_on_a_fresh_authentic_record() {
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let mut client = Foreign::connect(&door.server(&papers), None).unwrap();
    assert_eq!(client.ask(b"one").as_deref(), Some(&b"one"[..]));
    let thief = UdpSocket::bind("127.0.0.1:0").unwrap();
    thief.set_read_timeout(Some(A_MOMENT)).unwrap();
    let steal = |record: &[u8]| {
        thief.send_to(record, door.address).unwrap();
        thief.recv(&mut [0; 2048]).is_ok()
    };

    // Held back by the network until a younger one has passed: old news from elsewhere moves nothing.
    let late = client.record(b"late");
    let replayed = client.record(b"replayed");
    client.send_raw(&replayed);
    assert_eq!(client.receive(PATIENCE).as_deref(), Some(&b"replayed"[..]));
    assert!(!steal(&replayed), "a record that was here before");
    assert!(!steal(&late), "a record older than the newest");
    let answered = client.receive(A_MOMENT);
    assert!(
        answered.is_none() || answered.as_deref() == Some(b"late"),
        "{answered:?}"
    );

    let mut forged = client.record(b"forged");
    *forged.last_mut().unwrap() ^= 1;
    assert!(!steal(&forged), "a record that does not authenticate");
    assert_eq!(client.ask(b"two").as_deref(), Some(&b"two"[..]));
    assert_eq!(moves(&door), 0);
}

#[test]
fn a_foreign_client_resumes_by_ticket_also_after_a_crash() {
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let server = door.server(&papers);
    let mut client = Foreign::connect(&server, None).unwrap();
    let ticket = client.ticket().expect("a ticket");
    let mut again = Foreign::connect(&server, Some(ticket.clone())).unwrap();
    assert!(again.resumed());
    assert_eq!(again.server_cid().map(|cid| cid.len()), Some(8));
    assert_eq!(again.ask(b"again").as_deref(), Some(&b"again"[..]));
    let seen = connections(&door);
    assert_eq!(
        seen[1..],
        [(Some(Resumed::ByTicket), AES_128_GCM, true)],
        "{seen:?}"
    );

    let address = door.address;
    door.crash();
    let door = Door::open_at(papers.config(), address, Vec::new(), &[]);
    let mut later = Foreign::connect(&server, Some(ticket)).unwrap();
    assert!(later.resumed(), "the ticket's key comes from the secret");
    assert_eq!(later.ask(b"later").as_deref(), Some(&b"later"[..]));
    assert_eq!(door.counters().handshakes_full, 0);
    assert_no_number_twice(&[client, again, later]);
}

#[test]
fn saved_sessions_go_on_without_a_handshake_and_without_a_number_twice() {
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let server = door.server(&papers);
    let connect = |_| Foreign::connect(&server, None).unwrap();
    let mut clients: Vec<Foreign> = (0..4).map(connect).collect();
    // The last one has said nothing yet, and one moves while the server is away.
    for client in &mut clients[..3] {
        assert_eq!(client.ask(b"before").as_deref(), Some(&b"before"[..]));
    }
    let address = door.address;
    let saved = door.shut();
    assert_eq!(saved.len(), 4);
    clients[2].rebind();

    let door = Door::open_at(papers.config(), address, saved, &[]);
    for client in &mut clients {
        let last = client.last_from_server().unwrap();
        assert_eq!(client.ask(b"after").as_deref(), Some(&b"after"[..]));
        assert!(client.last_from_server().unwrap() > last);
    }
    assert_eq!(connections(&door), []);
    assert_eq!(moves(&door), 1);
    assert_no_number_twice(&clients);
}

/// What must never be: two endpoints that go on with one session. It shows that a number used twice would be noticed.
#[test]
#[should_panic(expected = "session, from server, epoch, sequence")]
fn one_session_in_two_places_would_be_noticed() {
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let server = door.server(&papers);
    let mut client = Foreign::connect(&server, None).unwrap();
    let address = door.address;
    let saved = door.shut().remove(0).to_bytes();
    for _ in 0..2 {
        let session = SavedSession::from_bytes(&saved).unwrap();
        let door = Door::open_at(papers.config(), address, vec![session], &[]);
        client.send(b"here?");
        assert!(client.hears(PATIENCE));
        drop(door);
    }
    assert_no_number_twice(&[client]);
}

/// OpenSSL's name of a suite, and its number.
const OF_OPENSSL: [(&str, u16); 7] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02B),
    ("ECDHE-ECDSA-AES128-CCM8", 0xC0AE),
    ("ECDHE-ECDSA-AES128-CCM", 0xC0AC),
    ("ECDHE-ECDSA-AES128-SHA256", 0xC023),
    ("ECDHE-ECDSA-AES256-SHA384", 0xC024),
    ("ECDHE-ECDSA-AES128-SHA", 0xC009),
    ("ECDHE-ECDSA-AES256-SHA", 0xC00A),
];

#[test]
fn openssl_completes_and_resumes_with_each_suite() {
    if !have(&["openssl"]) {
        return;
    }
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let server = &door.server(&papers);
    let ways = [
        (None, Resumed::ByTicket),
        (Some("-no_ticket"), Resumed::BySessionId),
    ];
    // `s_client` rests half a second before it goes, so they go side by side.
    std::thread::scope(|scope| {
        for (name, _) in OF_OPENSSL {
            scope.spawn(move || {
                let desk = Desk::new(server);
                for (flag, _) in ways {
                    let mut arguments = vec!["-cipher", name];
                    arguments.extend(flag);
                    let full = [&arguments[..], &["-sess_out", "session"]].concat();
                    let text = say_and_hear(desk.s_client(&full), "a line for the first session");
                    assert!(text.contains("Verification: OK"), "{text}");
                    assert!(text.contains("Verified peername: localhost"), "{text}");
                    assert!(
                        text.contains("New, ") && text.contains(&format!("Cipher is {name}\n")),
                        "{text}"
                    );
                    assert!(text.contains("Extended master secret: yes"), "{text}");
                    let short = [&arguments[..], &["-sess_in", "session"]].concat();
                    let text = say_and_hear(desk.s_client(&short), "a line for the second session");
                    assert!(text.contains("Reused, "), "{text}");
                }
            });
        }
    });
    let seen = connections(&door);
    for (name, number) in OF_OPENSSL {
        let of_suite: Vec<_> = seen
            .iter()
            .filter(|(_, suite, _)| *suite == number)
            .collect();
        let how: Vec<_> = of_suite.iter().map(|(resumed, ..)| *resumed).collect();
        assert_eq!(
            how,
            [None, Some(ways[0].1), None, Some(ways[1].1)],
            "{name}"
        );
    }
    assert_eq!(seen.len(), 4 * OF_OPENSSL.len());
}

#[test]
fn a_session_id_outlives_a_crash_when_the_cache_was_kept() {
    if !have(&["openssl"]) {
        return;
    }
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let desk = Desk::new(&door.server(&papers));
    say_and_hear(
        desk.s_client(&["-no_ticket", "-sess_out", "session"]),
        "before",
    );
    let address = door.address;
    let cached = door.crash();
    assert_eq!(cached.len(), 1);
    let door = Door::open_at(papers.config(), address, Vec::new(), &cached);
    let text = say_and_hear(
        desk.s_client(&["-no_ticket", "-sess_in", "session"]),
        "after",
    );
    assert!(text.contains("Reused, "), "{text}");
    assert_eq!(
        connections(&door),
        [(Some(Resumed::BySessionId), AES_128_GCM, false)]
    );
}

#[test]
fn openssl_that_offers_many_gets_the_suite_we_prefer() {
    if !have(&["openssl"]) {
        return;
    }
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let desk = Desk::new(&door.server(&papers));
    let many = "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256";
    say_and_hear(desk.s_client(&["-cipher", many]), "a line");
    assert_eq!(connections(&door), [(None, AES_128_GCM, false)]);
}

#[test]
fn who_offers_only_cbc_to_a_door_without_it_is_refused_by_name() {
    if !have(&["openssl"]) {
        return;
    }
    let papers = Papers::new();
    let mut config = papers.config();
    config.suites = Suites::aead();
    let door = Door::open(config);
    let desk = Desk::new(&door.server(&papers));
    let (code, text) =
        Tool::start(desk.s_client(&["-cipher", "ECDHE-ECDSA-AES128-SHA256"])).finish();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("alert handshake failure"), "{text}");
    let refused = door.events(|event| match event {
        Event::Refused { reason, .. } => Some(reason.to_string()),
        _ => None,
    });
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].contains("only CBC") && refused[0].contains("C023"),
        "{refused:?}"
    );
}

#[test]
fn openssl_refuses_who_is_not_the_server_it_wants() {
    if !have(&["openssl"]) {
        return;
    }
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let mut elsewhere = door.server(&papers);
    elsewhere.name = "elsewhere.example".to_owned();
    let (code, text) = Tool::start(Desk::new(&elsewhere).s_client(&[])).finish();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("hostname mismatch"), "{text}");
    let another_root = door.server(&Papers::new());
    let (code, text) = Tool::start(Desk::new(&another_root).s_client(&[])).finish();
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(connections(&door), []);
    door.until("two failed handshakes", |counters| {
        counters.handshakes_failed == 2
    });
}

/// GnuTLS's priority for a suite alone, what it calls it, and its number.
const OF_GNUTLS: [(&str, &str, u16); 4] = [
    ("", "AES-128-GCM", 0xC02B),
    (":-CIPHER-ALL:+AES-128-CCM-8", "AES-128-CCM-8", 0xC0AE),
    (
        ":-CIPHER-ALL:+AES-128-CBC:-MAC-ALL:+SHA256",
        "AES-128-CBC",
        0xC023,
    ),
    (
        ":-CIPHER-ALL:+AES-128-CBC:-MAC-ALL:+SHA1",
        "AES-128-CBC",
        0xC009,
    ),
];

#[test]
fn gnutls_completes_and_resumes() {
    if !have(&["gnutls-cli"]) {
        return;
    }
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let desk = Desk::new(&door.server(&papers));
    let mut expected = Vec::new();
    for (priority, name, number) in OF_GNUTLS {
        for (flag, how) in [
            ("", Resumed::ByTicket),
            (":%NO_TICKETS", Resumed::BySessionId),
        ] {
            let command = desk.gnutls_cli(&format!("{priority}{flag}"), &["--resume"]);
            let text = say_and_hear(command, "a line for the second session");
            assert!(
                text.contains("Status: The certificate is trusted."),
                "{text}"
            );
            assert!(text.contains(&format!("({name}")), "{text}");
            assert!(text.contains("*** This is a resumed session"), "{text}");
            expected.extend([(None, number, false), (Some(how), number, false)]);
        }
    }
    assert_eq!(connections(&door), expected);
}

#[test]
fn gnutls_refuses_who_is_not_the_server_it_wants() {
    if !have(&["gnutls-cli"]) {
        return;
    }
    let papers = Papers::new();
    let door = Door::open(papers.config());
    let mut elsewhere = door.server(&papers);
    elsewhere.name = "elsewhere.example".to_owned();
    let (code, text) = Tool::start(Desk::new(&elsewhere).gnutls_cli("", &[])).finish();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not match"), "{text}");
    assert_eq!(connections(&door), []);
}
