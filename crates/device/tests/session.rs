//! A whole session of a virtual modem over real TLS, against a scripted service.
#![allow(clippy::unwrap_used)]

mod service;

use std::time::Duration;

use sectag_device::agent::{Agent, Happening};
use sectag_device::hosted::HostedModem;
use sectag_device::https::Https;
use sectag_device::settings::{Settings, VolatileSettings};
use sectag_device::verbs;
use sectag_modem::{SharedModem, VirtualModem};
use sectag_proto::device::{Config, Ending, Errno, Event, TransportError};
use sectag_proto::wire::{
    Action, DecodeLimits, WireCommand, WireResult, decode_responses, encode_commands,
};
use sectag_proto::{CorrelationId, SecTag};
use service::{Answer, Service};

fn modem() -> HostedModem {
    HostedModem::new(SharedModem::new(VirtualModem::from_seed(7)))
}

fn config(modem: &mut HostedModem) -> Config {
    Config {
        modem_version: verbs::firmware(modem).unwrap(),
        radio_rest: Duration::ZERO,
        ..Config::default()
    }
}

fn command(id: &str, action: Action) -> WireCommand {
    WireCommand {
        correlation: CorrelationId::new(id).unwrap(),
        action,
    }
}

fn at(id: &str, set_command: &str, parameters: &str, ignore: &[u32]) -> WireCommand {
    command(
        id,
        Action::At {
            set_command: set_command.to_string(),
            parameters: parameters.to_string(),
            ignore: ignore.to_vec(),
        },
    )
}

fn results(request: &[u8]) -> Vec<WireResult> {
    let at = request.windows(4).position(|four| four == b"\r\n\r\n");
    let limits = DecodeLimits {
        records_max: 20,
        config_pairs_max: 10,
        bytes_max: 4096,
    };
    decode_responses(&request[at.unwrap() + 4..], limits)
        .unwrap()
        .into_iter()
        .map(|response| response.result)
        .collect()
}

#[tokio::test]
async fn a_device_generates_a_key_stores_a_setting_and_finishes() {
    let service = Service::start(vec![
        Answer::Status(
            200,
            encode_commands(&[
                at("u.1.s", "%CMNG", "3,42,2", &[513]),
                at("u.1", "%KEYGEN", "42,2,0", &[]),
            ]),
        ),
        Answer::Status(200, vec![]),
        Answer::Status(
            200,
            encode_commands(&[
                command(
                    "u.2",
                    Action::Config(vec![("provisioning/interval-sec".into(), "60".into())]),
                ),
                command("u.3", Action::Finished),
            ]),
        ),
        Answer::Status(200, vec![]),
    ])
    .await;
    let mut modem = modem();
    let mut settings = VolatileSettings::default();
    let mut agent = Agent::new(config(&mut modem), service.https());
    let mut log = Vec::new();
    let ending = agent
        .run_once(&mut modem, &mut settings, &mut |happening| {
            log.push(format!("{happening:?}"));
        })
        .await;
    assert_eq!(ending, Ending::Done, "{log:#?}");
    assert_eq!(
        settings.load("provisioning/interval-sec").as_deref(),
        Some("60")
    );

    let requests = service.requests();
    assert_eq!(requests.len(), 4);
    let fetch = String::from_utf8(requests[0].clone()).unwrap();
    let lines: Vec<&str> = fetch.split("\r\n").collect();
    assert_eq!(
        lines[0],
        "GET /v1/provisioning/commands?after=&rxMaxSize=1024&txMaxSize=2048\
         &mver=mfw_nrf91x1_2.0.2&cver=3.1.0&limit=10 HTTP/1.1"
    );
    assert_eq!(lines[1], format!("Host: localhost:{}", service.port));
    assert_eq!(lines[2], "Accept: application/cbor");
    assert!(lines[3].starts_with("Authorization: Bearer ey"));
    assert_eq!(lines[4], "Content-Type: */*");
    assert!(lines[5].starts_with("User-Agent: Zephyr/"));
    assert_eq!(lines[6..], ["Connection: close", "", ""]);

    let WireResult::AtDone { message } = &results(&requests[1])[0] else {
        panic!("delete failed")
    };
    assert_eq!(message, "+CME ERROR: 513\r\n");
    let WireResult::AtDone { message } = &results(&requests[1])[1] else {
        panic!("no key")
    };
    assert!(message.starts_with("%KEYGEN: \"") && message.ends_with("\"\r\nOK\r\n"));
    assert!(requests[2].starts_with(b"GET /v1/provisioning/commands?after=u.1&"));
    assert_eq!(
        results(&requests[3]),
        [WireResult::ConfigStored, WireResult::Finished]
    );

    let jwts: Vec<_> = requests.iter().map(|request| bearer(request)).collect();
    assert!(jwts.windows(2).all(|pair| pair[0] != pair[1]), "fresh each");
    for jwt in &jwts {
        assert!(!log.iter().any(|line| line.contains(jwt.as_str())));
    }
}

fn bearer(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let (_, rest) = text.split_once("Bearer ").unwrap();
    rest.split("\r\n").next().unwrap().to_string()
}

#[tokio::test]
async fn an_unclaimed_device_shows_its_claim_token() {
    let service = Service::start(vec![Answer::Status(401, vec![])]).await;
    let mut modem = modem();
    let mut agent = Agent::new(config(&mut modem), service.https());
    let mut shown = None;
    let ending = agent
        .run_once(
            &mut modem,
            &mut VolatileSettings::default(),
            &mut |happening| {
                if let Happening::Event(Event::FailedDeviceNotClaimed { token }) = happening {
                    shown.clone_from(token);
                }
            },
        )
        .await;
    assert_eq!(ending, Ending::Failed(Errno::Access));
    assert!(shown.unwrap().contains('.'));
}

#[tokio::test]
async fn a_failed_command_is_reported_and_the_radio_comes_back() {
    let service = Service::start(vec![
        Answer::Status(
            200,
            encode_commands(&[
                at("u.1", "%CMNG", "3,42,0", &[513]),
                at("u.2", "%CMNG", "3,43,0", &[]),
                at("u.3", "%KEYGEN", "42,2,0", &[]),
                command("u.4", Action::Finished),
            ]),
        ),
        Answer::Status(200, vec![]),
    ])
    .await;
    let mut modem = modem();
    modem.line("AT+CFUN=1");
    let mut agent = Agent::new(config(&mut modem), service.https());
    let mut events = Vec::new();
    let mut lines = Vec::new();
    let ending = agent
        .run_once(
            &mut modem,
            &mut VolatileSettings::default(),
            &mut |happening| match happening {
                Happening::Event(event) => events.push(event.clone()),
                Happening::Line { head, .. } => lines.push(head.to_owned()),
                _ => {}
            },
        )
        .await;
    assert_eq!(ending, Ending::Failed(Errno::NoData));
    let report = results(&service.requests()[1]);
    assert_eq!(report.len(), 2);
    assert!(matches!(
        report[1],
        WireResult::Failed { cme_error: 513, .. }
    ));
    assert!(events.contains(&Event::NeedLteDeactivated));
    assert!(events.contains(&Event::NeedLteActivated));
    let on = lines.iter().position(|line| line == "AT+CFUN=1").unwrap();
    assert_eq!(lines[on - 2..on], ["AT+CGEREP=1", "AT%XTIME=1"]);
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
    assert_eq!(modem.line("AT+CMEE?"), "+CMEE: 0\r\nOK\r\n");
}

#[tokio::test]
async fn both_tls_versions_work() {
    for (version, wanted) in [
        (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        let service = Service::start_with(vec![], &[version], "localhost").await;
        let mut modem = modem();
        let mut agent = Agent::new(config(&mut modem), service.https());
        let ending = agent
            .run_once(&mut modem, &mut VolatileSettings::default(), &mut |_| {})
            .await;
        assert_eq!(ending, Ending::Failed(Errno::NoData));
        assert_eq!(service.versions(), [wanted]);
    }
}

async fn transport_error(service: &Service, https: sectag_device::https::Https) -> TransportError {
    let query = sectag_proto::query::FetchQuery {
        after: String::new(),
        rx_bytes_max: 1024,
        tx_bytes_max: 2048,
        modem_version: None,
        client_version: None,
        limit: None,
    };
    let error = https.fetch("a.b.c", &query).await.unwrap_err();
    assert!(error.to_string().contains(&service.port.to_string()));
    error.kind
}

#[tokio::test]
async fn each_way_to_lose_an_answer_has_its_name() {
    let raw = |text: &str| Answer::Raw(text.as_bytes().to_vec());
    let service = Service::start(vec![
        Answer::Break,
        Answer::Silence,
        Answer::Status(200, vec![0; 1000]),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        raw("SSH-2.0-x\r\n"),
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ])
    .await;
    let https = || service.https();
    let quick = https().timeout(Duration::from_millis(300));
    assert_eq!(
        transport_error(&service, https()).await,
        TransportError::Closed
    );
    assert_eq!(
        transport_error(&service, quick).await,
        TransportError::Timeout
    );
    assert_eq!(
        transport_error(&service, https()).await,
        TransportError::TooLarge,
        "1000 bytes of body and the headers do not fit 1024"
    );
    assert_eq!(
        transport_error(&service, https()).await,
        TransportError::Closed
    );
    assert_eq!(
        transport_error(&service, https()).await,
        TransportError::Garbage
    );
    assert_eq!(
        transport_error(&service, https()).await,
        TransportError::Garbage
    );
}

#[tokio::test]
async fn a_server_of_another_ca_another_name_or_nobody_is_a_wrong_root_ca() {
    let service = Service::start(vec![]).await;
    let other = Service::start(vec![]).await;
    let at = |port| ([127, 0, 0, 1], port).into();
    let another_ca = sectag_device::https::Https::new("localhost", service.port, &other.root_pem)
        .unwrap()
        .at(at(service.port));
    assert_eq!(
        transport_error(&service, another_ca).await,
        TransportError::Tls
    );
    let another_name =
        sectag_device::https::Https::new("example.org", service.port, &service.root_pem)
            .unwrap()
            .at(at(service.port));
    assert_eq!(
        transport_error(&service, another_name).await,
        TransportError::Tls
    );
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let nobody = service.https().at(at(port));
    assert_eq!(
        transport_error(&service, nobody).await,
        TransportError::Refused
    );
    assert!(service.requests().is_empty(), "no token reached anybody");
}

#[test]
fn a_root_ca_goes_into_an_empty_tag_only() {
    let root = |name| {
        sectag_pki::Authority::root(name, service::now_s())
            .unwrap()
            .certificate_pem()
    };
    let (ours, theirs) = (root("ours"), root("theirs"));
    let mut modem = modem();
    modem.line("AT+CFUN=1");
    let tag = SecTag::new(42).unwrap();
    assert_eq!(verbs::root_ca(&mut modem, tag).unwrap(), None);
    assert_eq!(
        verbs::place_root_ca(&mut modem, tag, &ours).unwrap(),
        verbs::Placed::Written
    );
    assert_eq!(
        verbs::place_root_ca(&mut modem, tag, &ours).unwrap(),
        verbs::Placed::Same
    );
    assert_eq!(
        verbs::place_root_ca(&mut modem, tag, &theirs).unwrap(),
        verbs::Placed::Other
    );
    assert_eq!(verbs::root_ca(&mut modem, tag).unwrap(), Some(ours));
    assert_eq!(modem.line("AT+CFUN?"), "+CFUN: 1\r\nOK\r\n");
}

#[tokio::test]
async fn a_run_tells_what_it_cost_by_layer() {
    let batch = encode_commands(&[command("u.1", Action::Finished)]);
    let service = Service::start(vec![
        Answer::Status(200, batch.clone()),
        Answer::Status(200, vec![]),
    ])
    .await;
    let mut modem = modem();
    let mut agent = Agent::new(config(&mut modem), service.https());
    let mut spent = None;
    let ending = agent
        .run_once(
            &mut modem,
            &mut VolatileSettings::default(),
            &mut |happening| {
                if let Happening::Spent(budget) = happening {
                    spent = Some(*budget);
                }
            },
        )
        .await;
    assert_eq!(ending, Ending::Done);
    let spent = spent.unwrap();
    let requests = service.requests();
    assert_eq!((spent.handshakes_full, spent.round_trips), (2, 2));
    assert_eq!(spent.received.cbor, batch.len() as u64);
    let plain: usize = requests.iter().map(Vec::len).sum();
    assert_eq!(
        spent.sent.head + spent.sent.token + spent.sent.cbor,
        plain as u64
    );
    assert!(spent.sent.token > 600, "a token in each request: {spent:?}");
    assert!(spent.sent.handshake > 300 && spent.received.handshake > 1000);
    assert!(spent.sent.record >= 2 * 22 && spent.received.record > 0);
}

#[tokio::test]
async fn a_handshake_that_failed_has_cost_its_bytes() {
    let service = Service::start(vec![]).await;
    let stranger = Service::start(vec![]).await;
    let https = Https::new("localhost", service.port, &stranger.root_pem)
        .unwrap()
        .at(([127, 0, 0, 1], service.port).into());
    let mut modem = modem();
    let mut agent = Agent::new(config(&mut modem), https.clone());
    let ending = agent
        .run_once(&mut modem, &mut VolatileSettings::default(), &mut |_| {})
        .await;
    assert_eq!(ending, Ending::Failed(Errno::ConnectionRefused));
    let spent = https.spent();
    assert_eq!((spent.handshakes_full, spent.round_trips), (0, 0));
    assert!(spent.sent.handshake > 150 && spent.received.handshake > 500);
    assert_eq!(spent.sent.total(), spent.sent.handshake);
}
