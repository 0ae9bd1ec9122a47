//! The conversation of a device: a token in blocks, commands in blocks, a report in blocks (spec/device-protocol §6.2).
#![allow(clippy::unwrap_used)]

mod table;

use sectag_coap::*;
use std::time::Duration;
use table::*;

const CBOR: u16 = 60;

fn auth(jwt: &[u8]) -> ClientRequest {
    ClientRequest::new(Method::POST, &["p", "auth-jwt"])
        .query("mver=mfw_nrf91x1_2.0.1")
        .query("cver=2.6.0")
        .payload(CBOR, jwt.to_vec())
}

fn fetch() -> ClientRequest {
    ClientRequest {
        block2: true,
        ..ClientRequest::new(Method::GET, &["p", "cmd"])
            .query("after=")
            .query("rxMaxSize=1536")
            .query("txMaxSize=1536")
    }
}

fn report(body: &[u8]) -> ClientRequest {
    ClientRequest::new(Method::POST, &["p", "rsp"]).payload(CBOR, body.to_vec())
}

/// The service, answering after `pause`.
fn service(commands: Vec<u8>, pause: Duration) -> impl FnMut(&Request) -> (Response, Duration) {
    move |request| {
        let response = match (request.method, request.path.join("/").as_str()) {
            (Method::POST, "p/auth-jwt") => Response::new(Code::CREATED).max_age(2_592_000),
            (Method::GET, "p/cmd") => Response::new(Code::CONTENT).payload(CBOR, commands.clone()),
            (Method::POST, "p/rsp") => Response::new(Code::CHANGED),
            (Method::POST, ".dtls/suspend") => Response::new(Code::CHANGED),
            _ => Response::new(Code::NOT_FOUND),
        };
        (response, pause)
    }
}

fn round(table: &mut Table, jwt: &[u8], commands: &[u8], answers: &[u8]) {
    let authorised = table.ask(auth(jwt)).unwrap();
    assert_eq!(
        (authorised.code, authorised.max_age),
        (Code::CREATED, Some(2_592_000))
    );
    let batch = table.ask(fetch()).unwrap();
    assert_eq!(
        (batch.code, batch.payload.as_slice()),
        (Code::CONTENT, commands)
    );
    assert_eq!(batch.content_format, (!commands.is_empty()).then_some(CBOR));
    assert_eq!(table.ask(report(answers)).unwrap().code, Code::CHANGED);
    let seen: Vec<_> = table
        .delivered
        .iter()
        .map(|(line, body)| (line.as_str(), body.as_slice()))
        .collect();
    assert_eq!(
        seen,
        [
            ("POST p/auth-jwt?mver=mfw_nrf91x1_2.0.1&cver=2.6.0", jwt),
            ("GET p/cmd?after=&rxMaxSize=1536&txMaxSize=1536", &b""[..]),
            ("POST p/rsp", answers),
        ]
    );
}

#[test]
fn on_a_fair_day_every_block_is_one_round_trip() {
    let (jwt, commands, answers) = ([b'j'; 600], [b'c'; 1500], [b'r'; 300]);
    let mut table = Table::new(
        ClientConfig::default(),
        Limits::default(),
        FAIR,
        1,
        service(commands.into(), Duration::ZERO),
    );
    round(&mut table, &jwt, &commands, &answers);
    let (client, server) = (
        table.client.counters(),
        table.server.session_counters(SESSION),
    );
    assert_eq!(
        (
            client.round_trips,
            client.messages_sent,
            client.messages_received
        ),
        (3 + 6 + 2, 11, 11)
    );
    assert_eq!(
        (client.payload_bytes_sent, client.payload_bytes_received),
        (900, 1500)
    );
    assert_eq!(
        (server.payload_bytes_received, server.payload_bytes_sent),
        (900, 1500)
    );
    assert_eq!(
        (client.bytes_sent, client.bytes_received),
        (server.bytes_received, server.bytes_sent)
    );
    assert_eq!(
        (
            client.retransmitted_messages,
            server.retransmitted_messages,
            server.round_trips
        ),
        (0, 0, 11)
    );
    assert_eq!(table.server.counters(), server);
}

#[test]
fn nothing_queued_is_an_empty_answer_of_eight_bytes() {
    let mut table = Table::new(
        ClientConfig::default(),
        Limits::default(),
        FAIR,
        2,
        service(vec![], Duration::ZERO),
    );
    let batch = table.ask(fetch()).unwrap();
    assert_eq!(
        (batch.code, batch.payload.len(), batch.content_format),
        (Code::CONTENT, 0, None)
    );
    assert_eq!(table.wire.last().unwrap().1.len(), 4 + 2);
}

#[test]
fn an_answer_that_takes_long_comes_separately_and_once() {
    let commands = vec![b'c'; 700];
    for pause in [
        Duration::from_millis(600),
        Duration::from_secs(5),
        Duration::from_secs(20),
    ] {
        let mut table = Table::new(
            ClientConfig::default(),
            Limits::default(),
            FAIR,
            3,
            service(commands.clone(), pause),
        );
        round(&mut table, &[b'j'; 300], &commands, &[b'r'; 20]);
        // Two blocks of token, three of commands, one report; three of the six answers were separate.
        assert_eq!(table.client.counters().retransmitted_messages, 0);
        assert_eq!(table.client.counters().messages_sent, 6 + 3);
        assert_eq!(table.client.counters().round_trips, 6);
        table.drive_until_quiet();
        assert_eq!(table.server.bytes_held(), 0);
    }
}

#[test]
fn an_application_that_never_answers_is_busy_after_half_a_minute() {
    let patient = ClientConfig {
        exchange_timeout: Duration::from_secs(60),
        ..ClientConfig::default()
    };
    let mut table = Table::new(
        patient,
        Limits::default(),
        FAIR,
        4,
        service(vec![], Duration::from_secs(3600)),
    );
    assert_eq!(table.ask(report(b"x")).unwrap().code, Code::INTERNAL);
    table.drive_until_quiet();
    assert_eq!(table.delivered.len(), 1);
}

#[test]
fn a_suspend_is_sent_once_and_any_answer_will_do() {
    let mut table = Table::new(
        ClientConfig::default(),
        Limits::default(),
        FAIR,
        5,
        service(vec![], Duration::ZERO),
    );
    let suspend = ClientRequest {
        confirmable: false,
        ..ClientRequest::new(Method::POST, &[".dtls", "suspend"])
    };
    assert_eq!(table.ask(suspend.clone()).unwrap().code, Code::CHANGED);
    table.weather = Weather {
        loss_percent: 100,
        losses_in_a_round: u32::MAX,
        ..FAIR
    };
    let sent = table.client.counters().messages_sent;
    assert_eq!(table.ask(suspend), Err(Failure::Timeout));
    assert_eq!(table.client.counters().messages_sent, sent + 1);
}

#[test]
fn the_server_may_ask_for_smaller_blocks() {
    let limits = Limits {
        block_size: BlockSize::B64,
        ..Limits::default()
    };
    let large = ClientConfig {
        block_size: BlockSize::B1024,
        ..ClientConfig::default()
    };
    let body: Vec<u8> = (0..1500).map(|byte| byte as u8).collect();
    let mut table = Table::new(
        large,
        limits,
        FAIR,
        6,
        service(body.clone(), Duration::ZERO),
    );
    round(&mut table, &body, &body, &body);
    // The first block of 1024 is taken as it is; eight of 64 follow.
    assert_eq!(
        table
            .wire
            .iter()
            .filter(|(_, bytes)| bytes.len() > 1024)
            .count(),
        2
    );
}

#[test]
fn a_body_over_the_limit_is_refused_with_the_limit() {
    let limits = Limits {
        body_bytes_max: 1000,
        ..Limits::default()
    };
    let mut table = Table::new(
        ClientConfig::default(),
        limits,
        FAIR,
        7,
        service(vec![], Duration::ZERO),
    );
    assert_eq!(
        table.ask(report(&[0; 1001])).unwrap().code,
        Code::REQUEST_ENTITY_TOO_LARGE
    );
    // Size1 said so with the first block; the answer carries Size1 1000.
    assert_eq!(table.wire.len(), 2);
    assert!(table.wire[1].1.ends_with(&[0x03, 0xe8]));
    assert_eq!(table.ask(report(&[0; 1000])).unwrap().code, Code::CHANGED);
    assert_eq!(table.delivered.len(), 1);
}

#[test]
fn an_answer_over_the_clients_limit_is_too_large() {
    let small = ClientConfig {
        body_bytes_max: 1000,
        ..ClientConfig::default()
    };
    let mut table = Table::new(
        small,
        Limits::default(),
        FAIR,
        8,
        service(vec![0; 1001], Duration::ZERO),
    );
    assert_eq!(table.ask(fetch()), Err(Failure::TooLarge));
}

#[test]
fn a_dead_network_ends_in_a_timeout() {
    let dead = Weather {
        loss_percent: 100,
        losses_in_a_round: u32::MAX,
        ..FAIR
    };
    let mut table = Table::new(
        ClientConfig::default(),
        Limits::default(),
        dead,
        9,
        service(vec![], Duration::ZERO),
    );
    let began = table.now;
    assert_eq!(table.ask(fetch()), Err(Failure::Timeout));
    assert_eq!(table.now - began, Duration::from_secs(30));
    let patient = ClientConfig {
        exchange_timeout: Duration::from_secs(1000),
        ..ClientConfig::default()
    };
    let mut table = Table::new(
        patient,
        Limits::default(),
        dead,
        9,
        service(vec![], Duration::ZERO),
    );
    let began = table.now;
    assert_eq!(table.ask(fetch()), Err(Failure::Timeout));
    assert_eq!(table.client.counters().retransmitted_messages, 4);
    assert!((62..=93).contains(&(table.now - began).as_secs()));
}

#[test]
fn requests_wait_in_line() {
    let mut table = Table::new(
        ClientConfig::default(),
        Limits::default(),
        FAIR,
        10,
        service(vec![], Duration::from_secs(1)),
    );
    let ids: Vec<_> = (0..5)
        .map(|_| table.client.request(fetch(), table.now))
        .collect();
    table.client.cancel(ids[3]);
    table.drive_until_quiet();
    let answered: Vec<_> = table
        .answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().id)
        .collect();
    assert_eq!(answered, [ids[0], ids[1], ids[2], ids[4]]);
}

#[test]
fn the_server_loses_a_half_sent_body_and_the_client_sends_it_again() {
    let mut table = Table::new(
        ClientConfig::default(),
        Limits::default(),
        FAIR,
        11,
        service(vec![], Duration::ZERO),
    );
    table.client.request(report(&[9; 1000]), table.now);
    table.drive(|table| table.wire.len() == 3);
    table.server.forget(SESSION);
    table.drive_until_quiet();
    assert_eq!(table.delivered, [("POST p/rsp".to_string(), vec![9; 1000])]);
    assert_eq!(table.answers[0].as_ref().unwrap().code, Code::CHANGED);
}

#[test]
fn an_answer_that_is_gone_is_made_anew_and_never_mixed() {
    let mut runs = 0u8;
    let app = move |_: &Request| {
        runs += 1;
        (
            Response::new(Code::CONTENT).payload(CBOR, vec![runs; 1000]),
            Duration::ZERO,
        )
    };
    let mut table = Table::new(ClientConfig::default(), Limits::default(), FAIR, 12, app);
    table.client.request(fetch(), table.now);
    table.drive(|table| table.wire.len() == 3);
    table.server.forget(SESSION);
    table.drive_until_quiet();
    let payload = &table.answers[0].as_ref().unwrap().payload;
    assert!(payload.len() == 1000 && payload.iter().all(|byte| byte == &payload[0]));
    // Once for the first block, once for the later one that met nothing, once from the beginning.
    assert_eq!((payload[0], table.delivered.len()), (3, 3));
}

#[test]
fn twenty_percent_loss_with_duplicates_and_reordering_changes_nothing() {
    let storm = Weather {
        loss_percent: 20,
        duplicate_percent: 20,
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(3000),
        losses_in_a_round: 4,
    };
    let (jwt, commands, answers) = (vec![b'j'; 600], vec![b'c'; 1500], vec![b'r'; 900]);
    let patient = ClientConfig {
        exchange_timeout: Duration::from_secs(100),
        ..ClientConfig::default()
    };
    for seed in 0..100 {
        let pause = Duration::from_millis(seed % 4 * 400);
        let mut table = Table::new(
            patient.clone(),
            Limits::default(),
            storm,
            seed,
            service(commands.clone(), pause),
        );
        round(&mut table, &jwt, &commands, &answers);
        table.drive_until_quiet();
        assert_eq!(
            (table.delivered.len(), table.server.bytes_held()),
            (3, 0),
            "seed {seed}"
        );
    }
}
