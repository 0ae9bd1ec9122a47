//! Single datagrams on the server's doorstep, byte by byte (RFC 7252 §4, RFC 7959 §2).
#![allow(clippy::unwrap_used)]

mod table;

use sectag_coap::*;
use std::time::Duration;
use table::*;

const NOW: Duration = Duration::from_secs(1000);

fn server() -> Server {
    Server::new(Limits::default(), 1)
}

fn say(server: &mut Server, datagram: &[u8]) -> (Vec<Vec<u8>>, Vec<Request>) {
    server.feed(SESSION, datagram, NOW);
    replies(server, NOW)
}

fn only(server: &mut Server, datagram: &[u8]) -> Vec<u8> {
    let (mut sent, requests) = say(server, datagram);
    assert!(
        requests.is_empty() && sent.len() == 1,
        "{sent:02x?} {requests:?}"
    );
    sent.remove(0)
}

fn silence(server: &mut Server, datagram: &[u8]) {
    let (sent, requests) = say(server, datagram);
    assert!(
        sent.is_empty() && requests.is_empty(),
        "{sent:02x?} {requests:?}"
    );
}

#[test]
fn a_ping_is_answered_by_a_reset() {
    assert_eq!(
        only(&mut server(), b"\x40\x00\x12\x34"),
        b"\x70\x00\x12\x34"
    );
    silence(&mut server(), b"\x50\x00\x12\x34");
}

#[test]
fn malformed_reserved_and_misplaced_messages_are_rejected() {
    for bad in [
        &b"\x49\x01\x12\x34"[..], // token of nine bytes
        b"\x40\x01\x12\x34\xff",  // marker without payload
        b"\x40\x20\x12\x34",      // code class 1
        b"\x40\xc1\x12\x34",      // code class 6
        b"\x40\xe1\x12\x34",      // code class 7
        b"\x40\x45\x12\x34",      // a response to nothing
    ] {
        assert_eq!(only(&mut server(), bad), b"\x70\x00\x12\x34", "{bad:02x?}");
        let mut non = bad.to_vec();
        for kind in 1..4 {
            non[0] = bad[0] | kind << 4;
            silence(&mut server(), &non);
        }
    }
    silence(&mut server(), b"\x00\x01\x12\x34");
    silence(&mut server(), b"\x40\x01");
}

#[test]
fn an_unknown_method_is_not_allowed() {
    assert_eq!(
        only(&mut server(), b"\x41\x08\x12\x34t"),
        b"\x61\x85\x12\x34t"
    );
    assert_eq!(
        only(&mut server(), b"\x41\x1f\x12\x34t"),
        b"\x61\x85\x12\x34t"
    );
}

#[test]
fn a_critical_unknown_option_is_a_bad_option() {
    assert_eq!(
        only(&mut server(), b"\x41\x01\x12\x34t\x91x"),
        b"\x61\x82\x12\x34t"
    );
    silence(&mut server(), b"\x51\x01\x12\x34t\x91x");
}

#[test]
fn a_request_is_delivered_once_and_its_answer_repeated() {
    let mut server = server();
    let get = b"\x41\x01\x12\x34t\xb1p";
    let (sent, mut requests) = say(&mut server, get);
    assert!(sent.is_empty());
    let request = requests.remove(0);
    assert!(request.confirmable && request.path == ["p"] && request.session == SESSION);
    server.respond(request.exchange, Response::new(Code::NOT_FOUND), NOW);
    let (sent, _) = replies(&mut server, NOW);
    assert_eq!(sent, [b"\x61\x84\x12\x34t"]);
    assert_eq!(only(&mut server, get), b"\x61\x84\x12\x34t");
    let later = NOW + timing::EXCHANGE_LIFETIME;
    server.feed(SESSION, get, later);
    assert_eq!(replies(&mut server, later).1.len(), 1);
    let counters = server.counters();
    assert_eq!(
        (counters.duplicate_messages, counters.retransmitted_messages),
        (1, 1)
    );
}

#[test]
fn an_impatient_peer_is_acknowledged_and_answered_separately() {
    let mut server = server();
    let get = b"\x41\x01\x12\x34t\xb1p";
    let (_, mut requests) = say(&mut server, get);
    assert_eq!(only(&mut server, get), b"\x60\x00\x12\x34");
    assert_eq!(only(&mut server, get), b"\x60\x00\x12\x34");
    server.respond(
        requests.remove(0).exchange,
        Response::new(Code::CONTENT),
        NOW,
    );
    let (sent, _) = replies(&mut server, NOW);
    assert_eq!(
        (sent.len(), sent[0][0], sent[0][1], sent[0][4]),
        (1, 0x41, 0x45, b't')
    );
    // It comes again until it is acknowledged.
    let later = NOW + Duration::from_secs(3);
    assert_eq!(replies(&mut server, later).0, sent);
    server.feed(SESSION, &[0x60, 0, sent[0][2], sent[0][3]], later);
    assert!(
        replies(&mut server, later + Duration::from_secs(60))
            .0
            .is_empty()
    );
}

#[test]
fn a_reset_ends_a_separate_answer_and_silence_ends_it_after_five() {
    for reset in [true, false] {
        let mut server = server();
        let (_, mut requests) = say(&mut server, b"\x41\x01\x12\x34t\xb1p");
        let late = NOW + server::SEPARATE_AFTER;
        assert_eq!(replies(&mut server, late).0, [b"\x60\x00\x12\x34"]);
        server.respond(
            requests.remove(0).exchange,
            Response::new(Code::CONTENT),
            late,
        );
        let (sent, _) = replies(&mut server, late);
        if reset {
            server.feed(SESSION, &[0x70, 0, sent[0][2], sent[0][3]], late);
        }
        let mut times = 0;
        for second in 1..200 {
            times += replies(&mut server, late + Duration::from_secs(second))
                .0
                .len();
        }
        assert_eq!(times, if reset { 0 } else { 4 });
    }
}

#[test]
fn a_request_that_needs_no_acknowledgement_gets_an_answer_that_needs_none() {
    let mut server = server();
    let (_, mut requests) = say(&mut server, b"\x51\x02\x12\x34t\xb1p");
    assert!(!requests[0].confirmable);
    silence(&mut server, b"\x51\x02\x12\x34t\xb1p");
    server.respond(
        requests.remove(0).exchange,
        Response::new(Code::CHANGED),
        NOW + Duration::from_secs(5),
    );
    let (sent, _) = replies(&mut server, NOW);
    assert_eq!((sent[0][0], sent[0][1], sent[0][4]), (0x51, 0x44, b't'));
}

/// POST p with Block1, message id and payload.
fn block1(id: u8, number: u8, more: bool, szx: u8, payload: &[u8]) -> Vec<u8> {
    let block = number << 4 | u8::from(more) << 3 | szx;
    let mut bytes = vec![0x41, 2, 0, id, b't', 0xb1, b'p', 0xd1, 3, block, 0xff];
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn blocks_are_joined_in_order_and_gaps_are_4_08() {
    let mut server = server();
    assert_eq!(
        only(&mut server, &block1(1, 1, true, 0, &[1; 16]))[1],
        Code::REQUEST_ENTITY_INCOMPLETE.0
    );
    assert_eq!(
        only(&mut server, &block1(2, 0, true, 0, &[0; 16])),
        b"\x61\x5f\x00\x02t\xd1\x0e\x08"
    );
    assert_eq!(
        only(&mut server, &block1(3, 2, true, 0, &[2; 16]))[1],
        Code::REQUEST_ENTITY_INCOMPLETE.0
    );
    assert_eq!(
        only(&mut server, &block1(4, 1, true, 0, &[1; 16]))[1],
        Code::CONTINUE.0
    );
    // The same block under another id changes nothing; another one in its place does not fit.
    assert_eq!(
        only(&mut server, &block1(5, 1, true, 0, &[1; 16]))[1],
        Code::CONTINUE.0
    );
    assert_eq!(
        only(&mut server, &block1(6, 1, true, 0, &[9; 16]))[1],
        Code::REQUEST_ENTITY_INCOMPLETE.0
    );
    // A short block that is not the last, and one longer than its size.
    assert_eq!(
        only(&mut server, &block1(7, 2, true, 0, &[2; 15]))[1],
        Code::BAD_REQUEST.0
    );
    assert_eq!(
        only(&mut server, &block1(8, 2, false, 0, &[2; 17]))[1],
        Code::BAD_REQUEST.0
    );
    let (_, requests) = say(&mut server, &block1(9, 2, false, 0, &[2; 5]));
    assert_eq!(
        requests[0].payload,
        [&[0; 16][..], &[1; 16], &[2; 5]].concat()
    );
}

#[test]
fn a_half_sent_body_is_kept_for_as_long_as_a_sender_tries() {
    let mut server = server();
    only(&mut server, &block1(1, 0, true, 0, &[0; 16]));
    let later = NOW + server::BODY_LIFETIME;
    server.feed(SESSION, &block1(2, 1, false, 0, &[1]), later);
    assert_eq!(
        replies(&mut server, later).0[0][1],
        Code::REQUEST_ENTITY_INCOMPLETE.0
    );
}

/// GET p with Block2 (16 bytes) and message id.
fn block2(id: u8, number: u8) -> Vec<u8> {
    vec![0x41, 1, 0, id, b't', 0xb1, b'p', 0xc1, number << 4]
}

#[test]
fn later_blocks_come_from_the_answer_that_is_kept() {
    let mut server = server();
    let (_, mut requests) = say(&mut server, &block2(1, 0));
    server.respond(
        requests.remove(0).exchange,
        Response::new(Code::CONTENT).payload(60, (0..40).collect()),
        NOW,
    );
    let first = replies(&mut server, NOW).0.remove(0);
    let etag = first[6..10].to_vec();
    assert_eq!(first[..6], *b"\x61\x45\x00\x01t\x44");
    // Content-Format 60, Block2 0/more/16, the first sixteen bytes.
    assert_eq!(first[10..15], *b"\x81\x3c\xb1\x08\xff");
    assert_eq!(first[15..], (0..16).collect::<Vec<u8>>());
    let third = only(&mut server, &block2(2, 2));
    assert_eq!(
        (&third[6..10], &third[15..]),
        (&etag[..], &(32..40).collect::<Vec<u8>>()[..])
    );
    assert_eq!(only(&mut server, &block2(3, 3))[1], Code::BAD_REQUEST.0);
    assert_eq!(only(&mut server, &block2(1, 0)), first);
    // When nobody asked for a minute and a half, the application makes another one.
    let later = NOW + server::BODY_LIFETIME;
    server.feed(SESSION, &block2(4, 1), later);
    let (sent, mut requests) = replies(&mut server, later);
    assert!(sent.is_empty());
    server.respond(
        requests.remove(0).exchange,
        Response::new(Code::CONTENT).payload(60, (0..40).collect()),
        later,
    );
    let second = replies(&mut server, later).0.remove(0);
    assert_ne!(second[6..10], etag);
    assert_eq!(second[15..], (16..32).collect::<Vec<u8>>());
}

#[test]
fn a_later_block_of_an_act_that_is_forgotten_does_not_act_again() {
    let mut post = block2(1, 1);
    post[1] = 2;
    assert_eq!(
        only(&mut server(), &post)[1],
        Code::REQUEST_ENTITY_INCOMPLETE.0
    );
}

#[test]
fn the_size_is_told_to_whoever_asks() {
    let mut server = server();
    let mut get = block2(1, 0);
    get.extend_from_slice(&[0x50]); // Size2 0
    let (_, mut requests) = say(&mut server, &get);
    server.respond(
        requests.remove(0).exchange,
        Response::new(Code::CONTENT).payload(60, vec![7; 300]),
        NOW,
    );
    let answer = replies(&mut server, NOW).0.remove(0);
    assert!(
        answer.windows(3).any(|option| option == [0x52, 0x01, 0x2c]),
        "{answer:02x?}"
    );
}

#[test]
fn a_forgotten_session_gets_no_answer_and_holds_nothing() {
    let mut server = server();
    let (_, mut requests) = say(&mut server, b"\x41\x01\x12\x34t\xb1p");
    server.forget(SESSION);
    server.respond(
        requests.remove(0).exchange,
        Response::new(Code::CONTENT),
        NOW,
    );
    assert!(matches!(server.poll(NOW), Output::Wait(None)));
    assert_eq!((server.sessions(), server.bytes_held()), (0, 0));
}
