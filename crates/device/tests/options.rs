//! Each option of the device changes what it says, and nothing else.
#![allow(clippy::unwrap_used)]

mod service;

use std::collections::BTreeMap;
use std::time::Duration;

use sectag_device::agent::{Agent, Happening};
use sectag_device::hosted::HostedModem;
use sectag_device::options::{Identity, Known, OPTIONS, Options};
use sectag_device::settings::{Settings, VolatileSettings};
use sectag_device::verbs;
use sectag_modem::{SharedModem, VirtualModem};
use sectag_proto::device::{Client, Conduct, Ending, Errno, Event, TransportError};
use sectag_proto::wire::{Action, WireCommand, encode_commands};
use sectag_proto::{CorrelationId, SecTag};
use service::{Answer, Service};

fn identity() -> Identity {
    Identity {
        modem_version: "mfw_nrf91x1_2.0.2".to_owned(),
        seed: 7,
        radio_rest: Duration::ZERO,
    }
}

/// What each key reaches, by key.
fn reached(options: &Options) -> BTreeMap<&'static str, String> {
    let client = options.client_config(&identity());
    let session = options.session_config(&identity());
    let https = options.get("https").unwrap().value.to_string();
    BTreeMap::from([
        ("https", https),
        ("coap", format!("{:?}", session.transport)),
        ("auto-start", client.auto_start.to_string()),
        ("scheduled", client.scheduled.to_string()),
        ("time-wait-s", format!("{:?}", session.time_wait)),
        ("radio-wait-s", format!("{:?}", session.radio_wait)),
        ("interval-s", format!("{:?}", client.interval)),
        ("spread-s", format!("{:?}", client.spread)),
        ("backoff-s", format!("{:?}", client.initial_backoff)),
        ("shell", options.shell().to_string()),
        ("custom-at", options.custom_at().to_string()),
        ("with-cert", options.with_cert().to_string()),
        ("root-ca-sec-tag", options.root_ca_tag().to_string()),
        ("save-cmd-id", session.save_command_id.to_string()),
        ("settings-path", session.settings_path),
        ("rx-bytes", session.rx_bytes_max.to_string()),
        ("tx-bytes", session.tx_bytes_max.to_string()),
        ("jwt-sec-tag", session.jwt_sec_tag.to_string()),
        ("jwt-validity-s", format!("{:?}", session.jwt_validity)),
        (
            "provide-attestation-token",
            session.provide_attestation_token.to_string(),
        ),
        (
            "print-attestation-token",
            options.print_attestation_token().to_string(),
        ),
        ("http-hostname", options.http_hostname().to_owned()),
        ("http-port", format!("{:?}", options.http_port())),
        ("http-timeout-ms", format!("{:?}", options.http_timeout())),
        ("coap-hostname", options.coap_hostname().to_owned()),
        ("coap-port", format!("{:?}", options.coap_port().unwrap())),
        (
            "coap-session-cache",
            options.coap_session_cache().to_string(),
        ),
        ("coap-timeout-s", format!("{:?}", options.coap_timeout())),
        ("coap-block-bytes", options.coap_block_bytes().to_string()),
        ("at-bytes", session.at_bytes.to_string()),
        ("answer-bytes-start", session.answer_bytes_start.to_string()),
        ("records", session.records_max.to_string()),
    ])
}

/// A value that is not the default, and what it reaches.
const CHANGED: &[(&str, &str, &str)] = &[
    ("https", "n", "n"),
    ("coap", "y", "Coap"),
    ("auto-start", "n", "false"),
    ("scheduled", "n", "false"),
    ("time-wait-s", "7", "7s"),
    ("radio-wait-s", "8", "8s"),
    ("interval-s", "3600", "3600s"),
    ("spread-s", "0", "0ns"),
    ("backoff-s", "5", "5s"),
    ("shell", "y", "true"),
    ("custom-at", "y", "true"),
    ("with-cert", "n", "false"),
    ("root-ca-sec-tag", "42384", "42384"),
    ("save-cmd-id", "n", "false"),
    ("settings-path", "prov", "prov"),
    ("rx-bytes", "2560", "2560"),
    ("tx-bytes", "2304", "2304"),
    ("jwt-sec-tag", "17", "17"),
    ("jwt-validity-s", "60", "60s"),
    ("provide-attestation-token", "n", "false"),
    ("print-attestation-token", "n", "false"),
    ("http-hostname", "device.example", "device.example"),
    ("http-port", "444", "Some(444)"),
    ("http-timeout-ms", "1500", "1.5s"),
    ("coap-hostname", "coap.example", "coap.example"),
    ("coap-port", "5685", "Some(5685)"),
    ("coap-session-cache", "n", "false"),
    ("coap-timeout-s", "7", "7s"),
    ("at-bytes", "4096", "4096"),
    ("answer-bytes-start", "512", "512"),
    ("records", "5", "5"),
    ("coap-block-bytes", "512", "512"),
];

#[test]
fn each_option_changes_what_it_says_under_each_of_its_names() {
    let before = reached(&Options::ours());
    let keys: Vec<_> = OPTIONS.iter().filter_map(Known::key).collect();
    let tested: Vec<_> = CHANGED.iter().map(|(key, ..)| *key).collect();
    assert_eq!(tested, keys, "a key without a row here is untested");
    for (key, value, effect) in CHANGED {
        let known = OPTIONS
            .iter()
            .find(|known| known.key() == Some(key))
            .unwrap();
        for name in [key.to_string(), format!("CONFIG_{}", known.kconfig)] {
            let mut options = Options::ours();
            options.apply_flag(&format!("{name}={value}")).unwrap();
            let mut wanted = before.clone();
            wanted.insert(key, effect.to_string());
            if *key == "coap" {
                // The firmware's samples over CoAP have another tag.
                wanted.insert("root-ca-sec-tag", "42".to_owned());
            }
            assert_eq!(reached(&options), wanted, "{name}");
        }
    }
}

#[test]
fn the_firmwares_defaults_are_those_of_its_documentation() {
    let options = Options::faithful();
    let client = options.client_config(&identity());
    assert_eq!(client.session.conduct, Conduct::Firmware);
    assert!(!client.auto_start && !client.scheduled);
    assert_eq!(client.spread, Duration::ZERO);
    assert_eq!(client.interval, Duration::from_secs(86_400));
    assert!(!client.session.save_command_id);
    assert!(Client::new(client).is_ok());
    let ours = Options::ours().client_config(&identity());
    assert_eq!(ours.spread, Duration::from_secs(100));
    assert!(Client::new(ours).is_ok());
}

#[test]
fn a_transport_that_is_not_there_is_refused_with_a_sentence() {
    let refusal = |flags: &[&str]| {
        let mut options = Options::ours();
        for flag in flags {
            options.apply_flag(flag).unwrap();
        }
        options.check_transport().err().map(|why| why.to_string())
    };
    let not_built_in = "CoAP is not built into this program".to_owned();
    let expected = Some(not_built_in).filter(|_| !sectag_device::HAS_COAP);
    assert_eq!(refusal(&["coap=y"]), expected);
    assert_eq!(refusal(&["coap=y", "https=n"]), expected);
    assert_eq!(refusal(&[]), None);
    assert_eq!(
        refusal(&["https=n"]).unwrap(),
        "no transport is left: `https` is n, and so is `coap`"
    );
}

#[test]
fn a_coap_port_that_is_none_is_refused_with_its_place() {
    for text in ["0", "65536", "coap", "", "-1"] {
        let mut options = Options::ours();
        options.apply_flag(&format!("coap-port={text}")).unwrap();
        let error = options.coap_port().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("-o coap-port={text}: `coap-port`: \"{text}\" is not a port from 1 to 65535")
        );
    }
}

#[test]
fn scheduled_without_auto_start_is_refused_as_by_kconfig() {
    let mut options = Options::ours();
    options.apply_flag("auto-start=n").unwrap();
    let refusal = Client::new(options.client_config(&identity())).unwrap_err();
    assert_eq!(refusal.to_string(), "SCHEDULED needs AUTO_START_ON_INIT");
}

#[test]
fn the_reference_page_is_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/options.md"
    );
    let page = sectag_device::options::reference();
    if std::env::var_os("SECTAG_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap();
    assert!(
        there == page,
        "{path} is not the table's page; SECTAG_WRITE_DOCS=1 cargo test -p sectag-device --test options writes it"
    );
}

struct Run {
    ending: Ending,
    requests: Vec<Vec<u8>>,
    settings: VolatileSettings,
}

/// One session with these options.
async fn run(options: &[&str], answers: Vec<Answer>, modem: &mut HostedModem) -> Run {
    let service = Service::start(answers).await;
    let mut chosen = Options::ours();
    for option in options {
        chosen.apply_flag(option).unwrap();
    }
    let identity = Identity {
        modem_version: verbs::firmware(modem).unwrap(),
        ..identity()
    };
    let https = service.https().timeout(chosen.http_timeout());
    let mut agent = Agent::new(chosen.session_config(&identity), https);
    let mut settings = VolatileSettings::default();
    let ending = agent.run_once(modem, &mut settings, &mut |_| {}).await;
    Run {
        ending,
        requests: service.requests(),
        settings,
    }
}

fn modem() -> HostedModem {
    HostedModem::new(SharedModem::new(VirtualModem::from_seed(11)))
}

fn finished() -> Vec<Answer> {
    let commands = [WireCommand {
        correlation: CorrelationId::new("u.f").unwrap(),
        action: Action::Finished,
    }];
    vec![
        Answer::Status(200, encode_commands(&commands)),
        Answer::Status(200, vec![]),
    ]
}

fn text(request: &[u8]) -> String {
    String::from_utf8_lossy(request).into_owned()
}

#[tokio::test]
async fn sizes_and_records_are_in_the_query() {
    let options = ["rx-bytes=2560", "tx-bytes=2304", "records=5"];
    let run = run(&options, vec![], &mut modem()).await;
    let request = text(&run.requests[0]);
    assert!(
        request.contains("rxMaxSize=2560&txMaxSize=2304"),
        "{request}"
    );
    assert!(request.contains("&limit=5 "), "{request}");
}

#[tokio::test]
async fn an_answer_above_rx_bytes_is_too_large() {
    let answer = || vec![Answer::Status(200, vec![0x81; 300])];
    let small = run(&["rx-bytes=256"], answer(), &mut modem()).await;
    assert_eq!(small.ending, Ending::Failed(Errno::NoMemory));
    let large = run(&["rx-bytes=1024"], answer(), &mut modem()).await;
    assert_ne!(large.ending, Ending::Failed(Errno::NoMemory));
}

#[tokio::test]
async fn a_timeout_is_as_long_as_it_says() {
    let run = run(
        &["http-timeout-ms=200"],
        vec![Answer::Silence],
        &mut modem(),
    )
    .await;
    let timeout = Errno::of_transport(TransportError::Timeout);
    assert_eq!(run.ending, Ending::Failed(timeout));
}

#[tokio::test]
async fn a_jwt_lives_as_long_as_it_says() {
    for seconds in [60, 300] {
        let run = run(
            &[&format!("jwt-validity-s={seconds}")],
            vec![],
            &mut modem(),
        )
        .await;
        let claims = claims(&text(&run.requests[0]));
        let number = |name| claims[name].as_u64().unwrap();
        assert_eq!(number("exp") - number("iat"), seconds);
    }
}

#[tokio::test]
async fn another_jwt_tag_signs_with_another_key() {
    let mut modem = modem();
    let key = |run: &Run| jwt_part(&text(&run.requests[0]), 0)["kid"].to_string();
    let identity = key(&run(&["jwt-sec-tag=0"], vec![], &mut modem).await);
    assert!(modem.line("AT%KEYGEN=17,2,0").contains("OK"));
    let own = key(&run(&["jwt-sec-tag=17"], vec![], &mut modem).await);
    assert_ne!(identity, own);
    let none = run(&["jwt-sec-tag=18"], vec![], &mut modem).await;
    assert_eq!(none.ending, Ending::Failed(Errno::NoExec));
    assert!(none.requests.is_empty());
}

#[tokio::test]
async fn the_last_id_is_saved_under_the_path_or_not_at_all() {
    let key = "prov/after-correlation-id";
    let saved = run(&["settings-path=prov"], finished(), &mut modem()).await;
    assert_eq!(saved.ending, Ending::Done);
    assert_eq!(saved.settings.load(key).as_deref(), Some("u.f"));
    let options = ["settings-path=prov", "save-cmd-id=n"];
    let unsaved = run(&options, finished(), &mut modem()).await;
    assert_eq!(unsaved.ending, Ending::Done);
    assert_eq!(unsaved.settings.load(key), None);
}

#[tokio::test]
async fn an_unclaimed_devices_token_is_provided_or_not() {
    for (option, provided) in [
        ("provide-attestation-token=y", true),
        ("provide-attestation-token=n", false),
    ] {
        let service = Service::start(vec![Answer::Status(401, vec![])]).await;
        let mut options = Options::ours();
        options.apply_flag(option).unwrap();
        let mut agent = Agent::new(options.session_config(&identity()), service.https());
        let mut tokens = Vec::new();
        agent
            .run_once(
                &mut modem(),
                &mut VolatileSettings::default(),
                &mut |happening| {
                    if let Happening::Event(Event::FailedDeviceNotClaimed { token }) = happening {
                        tokens.push(token.is_some());
                    }
                },
            )
            .await;
        assert_eq!(tokens, [provided]);
    }
}

#[tokio::test]
async fn without_a_clock_the_wait_is_as_long_as_it_says() {
    // On no host's clock: the modem never learns the time.
    let mut modem = VirtualModem::from_seed(11);
    let service = Service::start(vec![]).await;
    let mut options = Options::ours();
    options.apply_flag("time-wait-s=0").unwrap();
    let mut agent = Agent::new(options.session_config(&identity()), service.https());
    let ending = agent
        .run_once(&mut modem, &mut VolatileSettings::default(), &mut |_| {})
        .await;
    assert_eq!(ending, Ending::Failed(Errno::NoTime));
    assert!(service.requests().is_empty());
}

#[test]
fn a_root_ca_tag_is_where_the_root_ca_goes() {
    let mut options = Options::ours();
    options.apply_flag("root-ca-sec-tag=42384").unwrap();
    let root = sectag_pki::Authority::root("r", service::now_s())
        .unwrap()
        .certificate_pem();
    let mut modem = modem();
    verbs::place_root_ca(&mut modem, options.root_ca_tag(), &root).unwrap();
    assert!(
        verbs::root_ca(&mut modem, SecTag::new(42_384).unwrap())
            .unwrap()
            .is_some()
    );
}

fn claims(request: &str) -> serde_json::Value {
    jwt_part(request, 1)
}

fn jwt_part(request: &str, index: usize) -> serde_json::Value {
    let (_, rest) = request.split_once("Bearer ").unwrap();
    let part = rest.split("\r\n").next().unwrap().split('.').nth(index);
    serde_json::from_slice(&base64url(part.unwrap())).unwrap()
}

fn base64url(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for character in text.chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(character).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

proptest::proptest! {
    #[test]
    fn any_text_sets_an_option_or_is_refused_with_its_source(text in "\\PC{0,60}") {
        let mut options = Options::ours();
        if let Err(error) = options.apply_flag(&text) {
            proptest::prop_assert!(error.to_string().contains("-o "));
        }
        if let Err(error) = options.apply_toml("device.toml", &text) {
            proptest::prop_assert!(error.to_string().starts_with("device.toml:"));
        }
        for (known, chosen) in options.rows() {
            proptest::prop_assert_eq!(known.kind.check(&chosen.value), Ok(()));
        }
    }
}
