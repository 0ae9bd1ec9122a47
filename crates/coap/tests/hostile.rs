//! Peers that mean harm, or nothing at all: no panic, bounded memory, and nobody else notices.
#![allow(clippy::unwrap_used)]

mod table;

use proptest::prelude::*;
use sectag_coap::*;
use std::time::Duration;
use table::*;

const NOW: Duration = Duration::from_secs(1000);

/// POST `path` with Block1 of 1024 bytes.
fn block(id: u16, path: u8, number: u32, more: bool) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let value = number << 4 | u32::from(more) << 3 | 6;
    let mut bytes = vec![0x40, 2, high, low, 0xb1, path, 0xd3, 3];
    bytes.extend_from_slice(&value.to_be_bytes()[1..]);
    bytes.push(0xff);
    bytes.extend_from_slice(&[0xaa; 1024]);
    bytes
}

#[test]
fn bodies_that_never_end_are_bounded_per_session() {
    let mut server = Server::new(Limits::default(), 1);
    let mut most = 0;
    for id in 0..3000u16 {
        server.feed(
            SESSION,
            &block(id, (id % 7) as u8, u32::from(id / 7), true),
            NOW,
        );
        replies(&mut server, NOW);
        most = most.max(server.session_bytes_held(SESSION));
    }
    for id in 0..3000u16 {
        server.feed(
            SESSION,
            &block(id.wrapping_add(3000), b'x', u32::from(id), true),
            NOW,
        );
        replies(&mut server, NOW);
        most = most.max(server.session_bytes_held(SESSION));
    }
    assert!(
        (server::BODY_BYTES_MAX..=server::SESSION_BYTES_MAX).contains(&most),
        "{most}"
    );
    // Nothing of it outlives the lifetimes.
    let end = NOW + timing::EXCHANGE_LIFETIME;
    replies(&mut server, end);
    assert_eq!(server.bytes_held(), 0);
}

#[test]
fn strangers_keep_little_whatever_they_send_and_are_told_how_much() {
    let limits = Limits {
        stranger_body_bytes_max: 2048,
        ..Limits::default()
    };
    let mut server = Server::new(limits, 1);
    for session in 0..100 {
        for number in 0..2 {
            server.feed(session, &block(number, b'p', number.into(), true), NOW);
            assert_eq!(replies(&mut server, NOW).0[0][1], Code::CONTINUE.0);
        }
        assert!(server.session_bytes_held(session) < 4096);
        server.feed(session, &block(2, b'p', 2, true), NOW);
        let refused = &replies(&mut server, NOW).0[0];
        assert_eq!(refused[1], Code::REQUEST_ENTITY_TOO_LARGE.0);
        assert_eq!(
            refused[refused.len() - 2..],
            2048_u16.to_be_bytes(),
            "Size1"
        );
        assert!(server.session_bytes_held(session) < 2048);
    }
    server.trust(7, true);
    for number in 3..40 {
        server.feed(7, &block(number, b'p', u32::from(number) - 3, true), NOW);
        assert_eq!(replies(&mut server, NOW).0[0][1], Code::CONTINUE.0);
    }
    server.trust(7, false);
    server.feed(7, &block(40, b'p', 37, true), NOW);
    assert_eq!(
        replies(&mut server, NOW).0[0][1],
        Code::REQUEST_ENTITY_TOO_LARGE.0
    );
}

#[test]
fn the_worst_session_holds_no_more_than_its_bound() {
    let mut server = Server::new(Limits::default(), 1);
    let mut dice = Dice(9);
    let mut most = 0;
    let mut waiting: Vec<Request> = Vec::new();
    let mut now = NOW;
    for id in 0..20_000u16 {
        now += Duration::from_millis(dice.roll() % 300);
        // A long path, so that keys cost what they can; a few different ones.
        let mut datagram = vec![0x48, (dice.roll() % 4 + 1) as u8];
        datagram.extend_from_slice(&id.to_be_bytes());
        datagram.extend_from_slice(&[dice.roll() as u8; 8]);
        datagram.extend_from_slice(&[0xbd, 242]);
        datagram.extend_from_slice(&[b'a' + (dice.roll() % 3) as u8; 255]);
        for _ in 0..2 {
            datagram.extend_from_slice(&[0x0d, 242]);
            datagram.extend_from_slice(&[b'a'; 255]);
        }
        if dice.percent(50) {
            // Block1, from 11 to 27.
            datagram.extend_from_slice(&[
                0xd2,
                3,
                (dice.roll() % 4) as u8,
                (dice.roll() % 16 * 16 + 14) as u8,
            ]);
        }
        datagram.push(0xff);
        datagram.extend_from_slice(&[1; 1024]);
        server.feed(SESSION, &datagram, now);
        let (_, requests) = replies(&mut server, now);
        waiting.extend(requests);
        if dice.percent(30) && !waiting.is_empty() {
            let request = waiting.swap_remove((dice.roll() as usize) % waiting.len());
            let answer = vec![0; (dice.roll() as usize) % (server::ANSWER_BYTES_MAX + 2)];
            server.respond(
                request.exchange,
                Response::new(Code::CONTENT).payload(60, answer),
                now,
            );
            replies(&mut server, now);
        }
        most = most.max(server.session_bytes_held(SESSION));
        assert!(most <= server::SESSION_BYTES_MAX, "{most}");
    }
    assert!(
        most > server::SESSION_BYTES_MAX / 2,
        "{most}: the test does not hurt enough"
    );
}

#[test]
fn all_sessions_together_hold_no_more_than_the_total_and_the_latest_goes_on() {
    let limits = Limits {
        total_bytes_max: 1_000_000,
        ..Limits::default()
    };
    let mut server = Server::new(limits, 1);
    for session in 0..500 {
        for number in 0..20 {
            server.feed(session, &block(number, b'p', number.into(), true), NOW);
            assert_eq!(replies(&mut server, NOW).0[0][1], Code::CONTINUE.0);
            assert!(server.bytes_held() <= limits.total_bytes_max);
        }
    }
    server.feed(499, &block(20, b'p', 20, false), NOW);
    assert_eq!(replies(&mut server, NOW).1[0].payload.len(), 21 * 1024);
    // The first one lost its blocks and is told so.
    server.feed(0, &block(20, b'p', 20, false), NOW);
    assert_eq!(
        replies(&mut server, NOW).0[0][1],
        Code::REQUEST_ENTITY_INCOMPLETE.0
    );
    let sum: usize = (0..500)
        .map(|session| server.session_bytes_held(session))
        .sum();
    assert_eq!(sum, server.bytes_held());
}

#[test]
fn a_total_that_is_smaller_than_what_the_application_has_does_not_hang() {
    let limits = Limits {
        total_bytes_max: 0,
        ..Limits::default()
    };
    let mut server = Server::new(limits, 1);
    let mut open = Vec::new();
    for session in 0..10 {
        server.feed(session, b"\x40\x01\x00\x01\xb1p", NOW);
        open.extend(replies(&mut server, NOW).1);
    }
    assert_eq!(open.len(), 10);
    for request in open {
        // Nor does it run anything twice.
        server.feed(request.session, b"\x40\x01\x00\x01\xb1p", NOW);
        let (sent, requests) = replies(&mut server, NOW);
        assert!(requests.is_empty() && sent == [b"\x60\x00\x00\x01"]);
        server.respond(request.exchange, Response::new(Code::CONTENT), NOW);
        assert_eq!(replies(&mut server, NOW).0.len(), 1);
    }
}

#[test]
fn too_many_requests_at_once_are_told_to_come_later() {
    let mut server = Server::new(Limits::default(), 1);
    for id in 0..server::EXCHANGES_MAX as u8 {
        server.feed(SESSION, &[0x40, 1, 0, id], NOW);
        assert_eq!(replies(&mut server, NOW).1.len(), 1);
    }
    server.feed(SESSION, &[0x40, 1, 1, 0], NOW);
    assert_eq!(
        replies(&mut server, NOW).0,
        [[0x60, Code::INTERNAL.0, 1, 0]]
    );
    let mut server = Server::new(Limits::default(), 1);
    for session in 0..=server::EXCHANGES_TOTAL_MAX as u64 {
        server.feed(session, &[0x40, 1, 0, 0], NOW);
        let (sent, requests) = replies(&mut server, NOW);
        let full = session == server::EXCHANGES_TOTAL_MAX as u64;
        assert_eq!(
            (sent.len(), requests.len()),
            if full { (1, 0) } else { (0, 1) }
        );
    }
    server.forget(0);
    server.feed(5000, &[0x40, 1, 0, 0], NOW);
    assert_eq!(replies(&mut server, NOW).1.len(), 1);
}

#[test]
fn of_too_many_sessions_a_quiet_one_is_forgotten() {
    let limits = Limits {
        sessions_max: 100,
        ..Limits::default()
    };
    let mut server = Server::new(limits, 1);
    for session in 0..1000 {
        server.feed(session, &[0x40, 0, 0, 0], NOW);
        server.feed(
            0,
            &[0x40, 1, (session >> 8) as u8, session as u8, 0xb1, b'p'],
            NOW,
        );
        assert!(server.sessions() <= 100);
        for request in replies(&mut server, NOW).1 {
            server.respond(request.exchange, Response::new(Code::CONTENT), NOW);
        }
        replies(&mut server, NOW);
    }
    assert_eq!(server.session_counters(0).round_trips, 1000);
}

/// Messages that are nearly right: a real conversation, its bytes changed, cut, joined and repeated by a seed.
fn nearly(dice: &mut Dice, originals: &[Vec<u8>]) -> Vec<u8> {
    if originals.is_empty() || dice.percent(10) {
        let length = dice.roll() as usize % 60;
        return dice.bytes(length);
    }
    let mut bytes = originals[dice.roll() as usize % originals.len()].clone();
    for _ in 0..dice.roll() % 4 {
        let place = dice.roll() as usize % bytes.len().max(1);
        match dice.roll() % 4 {
            0 => bytes.truncate(place),
            1 => bytes.insert(place.min(bytes.len()), dice.roll() as u8),
            _ if bytes.is_empty() => {}
            2 => bytes[place] ^= 1 << (dice.roll() % 8),
            _ => bytes[place] = dice.roll() as u8,
        }
        // Most of what matters is in front.
        if dice.percent(30) && !bytes.is_empty() {
            let front = dice.roll() as usize % bytes.len().min(12);
            bytes[front] = dice.roll() as u8;
        }
    }
    bytes
}

fn conversation() -> Vec<(bool, Vec<u8>)> {
    let config = ClientConfig {
        block_size: BlockSize::B32,
        ..ClientConfig::default()
    };
    let mut slow = 0;
    let mut table = Table::new(config, Limits::default(), FAIR, 3, move |_| {
        slow += 1;
        (
            Response::new(Code::CONTENT).payload(60, vec![1; 150]),
            Duration::from_millis(slow % 2 * 900),
        )
    });
    for _ in 0..2 {
        let get = ClientRequest {
            block2: true,
            ..ClientRequest::new(Method::GET, &["p", "cmd"]).query("after=")
        };
        table.ask(get).unwrap();
        table
            .ask(ClientRequest::new(Method::POST, &["p", "rsp"]).payload(60, vec![2; 150]))
            .unwrap();
    }
    table.wire
}

#[test]
fn a_server_survives_a_conversation_that_was_mutated() {
    let originals: Vec<_> = conversation()
        .into_iter()
        .filter(|(up, _)| *up)
        .map(|(_, bytes)| bytes)
        .collect();
    let mut server = Server::new(
        Limits {
            sessions_max: 5,
            ..Limits::default()
        },
        1,
    );
    let mut dice = Dice(5);
    let mut now = NOW;
    let mut waiting = Vec::new();
    let mut requests_seen = 0;
    for _ in 0..20_000 {
        let session = dice.roll() % 8;
        server.feed(session, &nearly(&mut dice, &originals), now);
        assert!(server.session_bytes_held(session) <= server::SESSION_BYTES_MAX);
        let (sent, requests) = replies(&mut server, now);
        assert!(sent.iter().all(|bytes| bytes.len() < 1200));
        requests_seen += requests.len();
        waiting.extend(requests);
        if dice.percent(60) && !waiting.is_empty() {
            let request: Request = waiting.swap_remove(dice.roll() as usize % waiting.len());
            let size = dice.roll() as usize % 3000;
            let answer = Response {
                code: Code(dice.roll() as u8),
                content_format: Some(60),
                max_age: Some(dice.roll() as u32),
                payload: vec![3; size],
            };
            server.respond(request.exchange, answer, now);
        }
        if dice.percent(2) {
            server.forget(session);
        }
        now += Duration::from_millis(dice.roll() % 2000);
    }
    assert!(
        requests_seen > 1000,
        "{requests_seen}: the mutations hide the server"
    );
    (0..8).for_each(|session| server.forget(session));
    assert_eq!((server.bytes_held(), server.sessions()), (0, 0));
    assert!(matches!(replies(&mut server, now), (sent, _) if sent.is_empty()));
    assert!(matches!(server.poll(now), Output::Wait(None)));
}

#[test]
fn a_client_survives_a_conversation_that_was_mutated() {
    let originals: Vec<_> = conversation()
        .into_iter()
        .filter(|(up, _)| !*up)
        .map(|(_, bytes)| bytes)
        .collect();
    let mut dice = Dice(6);
    let (mut answered, mut failed) = (0, 0);
    for seed in 0..1000 {
        let config = ClientConfig {
            block_size: BlockSize::B32,
            body_bytes_max: 200,
            token_bytes: 1,
            ..ClientConfig::default()
        };
        let mut client = Client::new(config, seed);
        let mut now = NOW;
        let asked = 1 + dice.roll() % 3;
        for number in 0..asked {
            let request = ClientRequest::new(Method::POST, &["p", "rsp"])
                .payload(60, vec![2; 50 * number as usize]);
            client.request(request, now);
        }
        let mut last: Vec<u8> = Vec::new();
        let mut ended = 0;
        for _ in 0..40 {
            while let output = client.poll(now)
                && !matches!(output, ClientOutput::Wait(_))
            {
                match output {
                    ClientOutput::Send(bytes) => last = bytes,
                    ClientOutput::Response(response) => {
                        assert!(response.payload.len() <= 200);
                        (ended, answered) = (ended + 1, answered + 1);
                    }
                    _ => (ended, failed) = (ended + 1, failed + 1),
                }
            }
            let mut bytes = nearly(&mut dice, &originals);
            // Id and token of the message under way, or nothing would get past the door.
            if bytes.len() > 4 && last.len() > 4 && dice.percent(80) {
                bytes[2..5].copy_from_slice(&last[2..5]);
                bytes[0] = bytes[0] & 0xf0 | 1;
            }
            client.feed(&bytes, now);
            now += Duration::from_millis(dice.roll() % 1000);
        }
        now += Duration::from_secs(10_000);
        for _ in 0..100 {
            match client.poll(now) {
                ClientOutput::Wait(None) => break,
                ClientOutput::Wait(Some(when)) => now = when,
                ClientOutput::Send(_) => {}
                _ => ended += 1,
            }
        }
        assert_eq!(ended, asked, "seed {seed}");
    }
    assert!(answered > 100 && failed > 100, "{answered} {failed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_datagrams_leave_both_ends_standing(datagrams: Vec<(u8, Vec<u8>)>) {
        let mut server = Server::new(Limits::default(), 1);
        let mut client = Client::new(ClientConfig::default(), 2);
        client.request(ClientRequest::new(Method::GET, &["p"]), NOW);
        let mut now = NOW;
        for (seconds, bytes) in datagrams {
            server.feed(SESSION, &bytes, now);
            client.feed(&bytes, now);
            let (_, requests) = replies(&mut server, now);
            for request in requests {
                server.respond(request.exchange, Response::new(Code::CONTENT).payload(0, bytes.clone()), now);
            }
            while !matches!(client.poll(now), ClientOutput::Wait(_)) {}
            now += Duration::from_secs(seconds.into());
        }
    }
}
