//! Handshakes: every suite, with and without Connection ID, over good and bad networks, and what either end refuses.
#![allow(clippy::unwrap_used)]

mod desk;

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use desk::{NAME, Pki, Table, Weather};
use sectag_dtls::{
    CertificateFault, ClientConfig, ClientEvent, ClientFailure, CloseReason, ConfigError, Event,
    Identity, MasterSecret, Refused, ServerConfig, Suites,
};

#[test]
fn a_client_and_the_endpoint_talk() {
    let mut table = Table::new(1);
    let config = table.pki.client();
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
    table.exchange(guest, &[7; 1100]);
    let [
        ClientEvent::Connected {
            resumed: None,
            cid: true,
            suite: 0xc02b,
            handshake,
        },
    ] = table.guests[guest].events[..]
    else {
        panic!("{:?}", table.guests[guest].events)
    };
    assert!(
        handshake.sent > 300 && handshake.received > 700 && handshake.retransmitted == 0,
        "{handshake:?}"
    );
    let [
        Event::Connected {
            cid: true,
            resumed: None,
            suite: 0xc02b,
            handshake,
            ..
        },
    ] = table.events[..]
    else {
        panic!("{:?}", table.events)
    };
    assert!(
        handshake.sent > 700 && handshake.received > 250,
        "{handshake:?}"
    );
    let (ours, theirs) = (
        table.endpoint().counters(),
        table.guests[guest].client.counters(),
    );
    assert_eq!(
        (
            ours.handshakes_full,
            ours.cookies_sent,
            ours.cookies_refused
        ),
        (1, 1, 0)
    );
    assert_eq!(
        (ours.received.payload_bytes, ours.sent.payload_bytes),
        (1105, 1105)
    );
    assert_eq!(
        (ours.sent.handshake_bytes, ours.received.handshake_bytes),
        (theirs.received.handshake_bytes, theirs.sent.handshake_bytes)
    );
    assert_eq!(
        (ours.sent.record_bytes, ours.received.record_bytes),
        (theirs.received.record_bytes, theirs.sent.record_bytes)
    );
}

#[test]
fn every_suite_works_and_ours_is_preferred() {
    for suite in Suites::all().numbers().to_vec() {
        let mut table = Table::new(2);
        let config = ClientConfig {
            suites: Suites::these(&[suite]).unwrap(),
            ..table.pki.client()
        };
        let guest = table.connected(&config);
        table.exchange(guest, b"hello");
        assert!(
            matches!(table.guests[guest].events[..], [ClientEvent::Connected { suite: chosen, .. }] if chosen == suite)
        );
    }
    let mut table = Table::new(2);
    let config = ClientConfig {
        suites: Suites::these(&[0xc00a, 0xc0ae, 0xc02b]).unwrap(),
        ..table.pki.client()
    };
    let guest = table.connected(&config);
    assert!(matches!(
        table.guests[guest].events[..],
        [ClientEvent::Connected { suite: 0xc02b, .. }]
    ));
}

#[test]
fn a_client_without_connection_id_or_with_one_of_its_own_works() {
    for (cid, ours) in [(None, false), (Some(0), true), (Some(4), true)] {
        let mut table = Table::new(3);
        let config = ClientConfig {
            cid,
            ..table.pki.client()
        };
        let guest = table.connected(&config);
        table.exchange(guest, b"hello");
        assert!(
            matches!(table.guests[guest].events[..], [ClientEvent::Connected { cid, .. }] if cid == ours)
        );
        assert!(matches!(table.events[..], [Event::Connected { cid, .. }] if cid == ours));
    }
}

#[test]
fn handshakes_get_through_loss_reordering_and_duplication() {
    for (seed, weather) in [
        Weather {
            loss_percent: 5,
            double_percent: 0,
            jitter_ms: 200,
            ..Weather::default()
        },
        Weather {
            loss_percent: 20,
            double_percent: 0,
            jitter_ms: 0,
            ..Weather::default()
        },
        Weather {
            loss_percent: 20,
            double_percent: 20,
            jitter_ms: 300,
            ..Weather::default()
        },
        Weather {
            loss_percent: 0,
            double_percent: 100,
            jitter_ms: 500,
            ..Weather::default()
        },
    ]
    .into_iter()
    .enumerate()
    {
        let mut table = Table::new(40 + seed as u64);
        table.weather = weather;
        let config = table.pki.client();
        let guests: Vec<_> = (0..12).map(|_| table.guest(&config)).collect();
        let now = table.now();
        guests
            .iter()
            .for_each(|guest| table.guests[*guest].client.connect(now));
        table.run();
        let connected = guests
            .iter()
            .filter(|guest| table.guests[**guest].client.is_connected())
            .count();
        assert!(
            connected >= 11,
            "{connected} of 12 with {} % loss",
            weather.loss_percent
        );
        table.weather = Weather::default();
        for guest in guests {
            if table.guests[guest].client.is_connected() {
                table.exchange(guest, b"after the storm");
            }
        }
    }
}

#[test]
fn one_seed_makes_one_conversation() {
    let pki = Pki::new();
    let (identity, config) = (pki.identity(), pki.client());
    let run = |seed: u64| {
        let server = ServerConfig::new(identity.clone(), MasterSecret::new([1; 32]));
        let mut table = Table::with(seed, Pki::new(), server);
        table.weather = Weather {
            loss_percent: 10,
            double_percent: 10,
            jitter_ms: 100,
            ..Weather::default()
        };
        let guest = table.guest(&config);
        table.connect(guest);
        assert!(table.guests[guest].client.is_connected());
        table.wire
    };
    assert!(run(7) == run(7));
    assert!(run(7) != run(8));
}

#[test]
fn a_server_that_is_silent_is_given_up() {
    let mut table = Table::new(5);
    table.weather.loss_percent = 100;
    let config = table.pki.client();
    let guest = table.guest(&config);
    table.connect(guest);
    assert!(matches!(
        table.guests[guest].events[..],
        [ClientEvent::Failed(ClientFailure::Timeout)]
    ));
    assert_eq!(
        table.guests[guest].client.counters().sent.retransmissions,
        4
    );
}

#[test]
fn a_client_that_falls_silent_in_its_handshake_is_forgotten() {
    let mut table = Table::new(6);
    let config = table.pki.client();
    let guest = table.guest(&config);
    let now = table.now();
    table.guests[guest].client.connect(now);
    table.pass(Duration::from_millis(70)); // hello, cookie, hello
    assert_eq!(table.endpoint().sessions(), 1);
    table.guests[guest].client.close(now);
    table.pass(Duration::from_secs(120));
    assert_eq!(table.endpoint().sessions(), 0);
    assert!(
        matches!(
            table.events[..],
            [Event::Closed {
                reason: CloseReason::HandshakeTimeout,
                ..
            }]
        ),
        "{:?}",
        table.events
    );
}

fn refusal(config: &ClientConfig, identity: Identity, pki: Pki, unix_s: u64) -> CertificateFault {
    let server = ServerConfig::new(identity, MasterSecret::new([42; 32]));
    let mut table = Table::with(9, pki, server);
    table.unix_s = unix_s;
    let guest = table.guest(config);
    table.connect(guest);
    assert!(
        table.events.iter().all(|event| matches!(
            event,
            Event::Closed {
                reason: CloseReason::Failed { .. },
                ..
            }
        )),
        "{:?}",
        table.events
    );
    assert_eq!(table.endpoint().sessions(), 0);
    match table.guests[guest].events.remove(0) {
        ClientEvent::Failed(ClientFailure::Certificate(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_says_what_is_wrong_with_the_certificate() {
    let pki = Pki::new();
    let other = ClientConfig::new(Pki::new().root_pem, NAME);
    let fault = refusal(&other, pki.identity(), pki, desk::TODAY_S);
    assert_eq!(
        fault.to_string(),
        "no trusted authority signed it; its issuer is `CN=Desk CA`"
    );

    let pki = Pki::new();
    let fault = refusal(
        &pki.client(),
        pki.identity_in(&[NAME], (2024, 2026)),
        pki,
        desk::TODAY_S,
    );
    let CertificateFault::Expired {
        subject,
        until,
        now,
    } = &fault
    else {
        panic!("{fault}")
    };
    assert_eq!(
        (subject.as_str(), until.as_str(), &now[..10]),
        ("CN=coap.example", "2026-01-01T00:00:00Z", "2026-11-21")
    );

    let pki = Pki::new();
    let fault = refusal(
        &pki.client(),
        pki.identity_in(&[NAME], (2027, 2030)),
        pki,
        desk::TODAY_S,
    );
    assert!(
        matches!(&fault, CertificateFault::NotYetValid { from, .. } if from == "2027-01-01T00:00:00Z"),
        "{fault}"
    );

    let pki = Pki::new();
    let config = ClientConfig {
        server_name: "other.example".to_owned(),
        ..pki.client()
    };
    let fault = refusal(&config, pki.identity(), pki, desk::TODAY_S);
    assert_eq!(
        fault.to_string(),
        "it is for `coap.example`, `127.0.0.1`, not for `other.example`"
    );

    let pki = Pki::new();
    let config = ClientConfig {
        server_name: "127.0.0.2".to_owned(),
        ..pki.client()
    };
    let fault = refusal(&config, pki.identity(), pki, desk::TODAY_S);
    assert_eq!(
        fault.to_string(),
        "it is for `coap.example`, `127.0.0.1`, not for `127.0.0.2`"
    );
}

#[test]
fn an_address_can_be_the_servers_name() {
    let mut table = Table::new(10);
    let config = ClientConfig {
        server_name: "127.0.0.1".to_owned(),
        ..table.pki.client()
    };
    let guest = table.connected(&config);
    table.exchange(guest, b"hello");
}

#[test]
fn two_clocks_live_in_one_process() {
    let pki = Pki::new();
    let identity = || pki.identity_in(&[NAME], (2024, 2030));
    let (today, later) = (identity(), identity());
    let table = |seed, identity, unix_s| {
        let mut table = Table::with(
            seed,
            Pki::new(),
            ServerConfig::new(identity, MasterSecret::new([1; 32])),
        );
        table.unix_s = unix_s;
        table
    };
    let (mut today, mut later) = (
        table(1, today, desk::TODAY_S),
        table(2, later, 2_500_000_000),
    );
    let (one, two) = (today.guest(&pki.client()), later.guest(&pki.client()));
    let (now, then) = (today.now(), later.now());
    today.guests[one].client.connect(now);
    later.guests[two].client.connect(then);
    for _ in 0..200 {
        today.pass(Duration::from_millis(5));
        later.pass(Duration::from_millis(5));
    }
    assert!(today.guests[one].client.is_connected());
    assert!(matches!(
        later.guests[two].events[..],
        [ClientEvent::Failed(ClientFailure::Certificate(
            CertificateFault::Expired { .. }
        ))]
    ));
}

#[test]
fn a_client_that_offers_only_cbc_is_named() {
    let pki = Pki::new();
    let server = ServerConfig {
        suites: Suites::aead(),
        ..pki.server()
    };
    let mut table = Table::with(11, pki, server);
    let config = ClientConfig {
        suites: Suites::these(&[0xc023, 0xc009]).unwrap(),
        ..table.pki.client()
    };
    let guest = table.guest(&config);
    table.connect(guest);
    let [
        Event::Refused {
            reason: reason @ Refused::NoCommonSuite { only_cbc: true, .. },
            ..
        },
    ] = &table.events[..]
    else {
        panic!("{:?}", table.events)
    };
    assert!(
        reason
            .to_string()
            .starts_with("offers only CBC suites, which are off: C023 C009"),
        "{reason}"
    );
    assert!(matches!(
        table.guests[guest].events[..],
        [ClientEvent::Failed(ClientFailure::Alert { number: 40, .. })]
    ));
    assert_eq!(table.endpoint().sessions(), 0);
}

#[test]
fn extended_master_secret_can_be_required() {
    for (required, offered, works) in [
        (false, false, true),
        (true, true, true),
        (true, false, false),
    ] {
        let pki = Pki::new();
        let server = ServerConfig {
            require_extended_master_secret: required,
            ..pki.server()
        };
        let mut table = Table::with(12, pki, server);
        let config = ClientConfig {
            extended_master_secret: offered,
            ..table.pki.client()
        };
        let guest = table.guest(&config);
        table.connect(guest);
        assert_eq!(table.guests[guest].client.is_connected(), works);
        let refused = matches!(
            table.events[..],
            [Event::Refused {
                reason: Refused::NoExtendedMasterSecret,
                ..
            }]
        );
        assert_eq!(refused, !works);
    }
}

#[test]
fn a_new_identity_is_for_new_peers() {
    let mut table = Table::new(13);
    let config = table.pki.client();
    let old = table.connected(&config);
    let other = Pki::new();
    table.endpoint().replace_identity(other.identity()).unwrap();
    table.exchange(old, b"still here");
    let new = table.connected(&other.client());
    table.exchange(new, b"hello");
    let stale = table.guest(&config);
    table.connect(stale);
    assert!(!table.guests[stale].client.is_connected());
}

#[test]
fn a_key_of_another_certificate_and_a_chain_too_long_are_refused() {
    let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(vec![NAME.to_owned()])
        .unwrap()
        .self_signed(&one)
        .unwrap()
        .pem();
    assert!(matches!(
        Identity::from_pem(&certificate, &two.serialize_pem()),
        Err(ConfigError::KeyOfAnother)
    ));
    assert!(matches!(
        Identity::from_pem("no", &two.serialize_pem()),
        Err(ConfigError::Chain(_))
    ));
    assert!(matches!(
        Identity::from_pem(&certificate, "no"),
        Err(ConfigError::Key(_))
    ));
    assert!(Identity::from_pem(&certificate, &one.serialize_pem()).is_ok());
    let long = certificate.repeat(8);
    assert!(
        matches!(Identity::from_pem(&long, &one.serialize_pem()), Err(ConfigError::Chain(text)) if text.contains("2048"))
    );
    assert_eq!(
        format!(
            "{:?}",
            Identity::from_pem(&certificate, &one.serialize_pem()).unwrap()
        ),
        "Identity(****)"
    );
}

#[test]
fn what_does_not_fit_one_record_is_not_sent() {
    let mut table = Table::new(14);
    let config = table.pki.client();
    let guest = table.connected(&config);
    let (session, now) = (table.session(), table.now());
    let error = table.guests[guest]
        .client
        .send(&[0; 1500], now)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("1500 bytes do not fit one record of 11"),
        "{error}"
    );
    let error = table.endpoint().send(session, &[0; 1500], now).unwrap_err();
    assert!(
        error.to_string().starts_with("1500 bytes do not fit"),
        "{error}"
    );
    table.exchange(guest, &[1; 1150]);
}
