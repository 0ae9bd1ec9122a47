//! A device's session over real DTLS and CoAP, against a scripted service in this process.
#![cfg(feature = "coap")]
#![allow(clippy::unwrap_used)]

mod coap_service;

use std::time::Duration;

use coap_service::{CoapService, Reply, Restart};
use sectag_coap::{Code, Response};
use sectag_device::agent::{Agent, Happening, Resident};
use sectag_device::hosted::HostedModem;
use sectag_device::options::{Identity, Options};
use sectag_device::settings::VolatileSettings;
use sectag_device::verbs;
use sectag_device::{Budget, Coap};
use sectag_modem::{SharedModem, VirtualModem};
use sectag_proto::CorrelationId;
use sectag_proto::device::{Conduct, Config, Ending, Errno, Event};
use sectag_proto::wire::{Action, WireCommand, encode_commands};

/// A device with its agent, and what it told.
struct Device {
    modem: HostedModem,
    settings: VolatileSettings,
    agent: Agent,
    told: Vec<String>,
    events: Vec<Event>,
    spent: Option<Budget>,
}

impl Device {
    fn new(conduct: Conduct, coap: Coap) -> Self {
        Self::with_modem_version("mfw_nrf91x1_2.0.2", conduct, coap)
    }

    fn with_modem_version(version: &str, conduct: Conduct, coap: Coap) -> Self {
        let mut modem = HostedModem::new(SharedModem::new(VirtualModem::from_seed(7)));
        assert!(verbs::firmware(&mut modem).unwrap().starts_with("mfw_"));
        let config = Config {
            modem_version: version.to_owned(),
            radio_rest: Duration::ZERO,
            conduct,
            ..Config::default()
        };
        Self {
            modem,
            settings: VolatileSettings::default(),
            agent: Agent::new(config, coap),
            told: Vec::new(),
            events: Vec::new(),
            spent: None,
        }
    }

    async fn run(&mut self) -> Ending {
        self.told.clear();
        self.events.clear();
        let (told, events, spent) = (&mut self.told, &mut self.events, &mut self.spent);
        self.agent
            .run_once(&mut self.modem, &mut self.settings, &mut |happening| {
                match &happening {
                    Happening::Event(event) => events.push((*event).clone()),
                    Happening::Spent(budget) => *spent = Some(**budget),
                    Happening::Unanswered { error, .. } => {
                        let mut source: Option<&dyn std::error::Error> = Some(*error);
                        while let Some(error) = source {
                            told.push(error.to_string());
                            source = error.source();
                        }
                    }
                    _ => {}
                };
            })
            .await
    }

    fn spent(&self) -> Budget {
        self.spent.unwrap()
    }
}

fn command(id: &str, action: Action) -> WireCommand {
    WireCommand {
        correlation: CorrelationId::new(id).unwrap(),
        action,
    }
}

fn key_and_finish() -> [Vec<u8>; 2] {
    [
        encode_commands(&[command(
            "u.1",
            Action::At {
                set_command: "%KEYGEN".to_owned(),
                parameters: "42,2,0".to_owned(),
                ignore: vec![],
            },
        )]),
        encode_commands(&[command("u.2", Action::Finished)]),
    ]
}

const NO_DATA: Ending = Ending::Failed(Errno::NoData);

#[tokio::test]
async fn ours_needs_one_handshake_and_one_authentication() {
    let service = CoapService::start().await;
    service.book().batches.extend(key_and_finish());
    let mut device = Device::new(Conduct::Careful, service.coap());
    assert_eq!(device.run().await, Ending::Done, "{:?}", device.told);
    let seen = service.book().seen.clone();
    assert_eq!(service.asked(), ["auth-jwt", "cmd", "rsp", "cmd", "rsp"]);
    assert!(seen[0].payload.starts_with(b"eyJ"));
    assert_eq!(seen[0].query, ["mver=mfw_nrf91x1_2.0.2", "cver=3.1.0"]);
    assert_eq!(
        seen[1].query,
        ["after=", "rxMaxSize=1024", "txMaxSize=2048", "limit=10"]
    );
    assert_eq!(seen[3].query[0], "after=u.1");
    // Flight mode in between, and another port afterwards.
    let events = service.events();
    assert_eq!(events[0], "full");
    assert!(
        events[1..].iter().all(|event| *event == "moved"),
        "{events:?}"
    );
    assert!(events.len() > 1);

    let spent = device.spent();
    assert_eq!((spent.handshakes_full, spent.handshakes_resumed), (1, 0));
    assert_eq!(spent.round_trips, 5);
    assert_eq!(spent.sent.token, seen[0].payload.len() as u64);
    let reports = [&seen[2], &seen[4]].map(|seen| seen.payload.len() as u64);
    assert_eq!(spent.sent.cbor, reports.iter().sum::<u64>());
    assert_eq!(
        spent.received.cbor,
        key_and_finish()
            .map(|batch| batch.len() as u64)
            .iter()
            .sum::<u64>()
    );
    assert!(spent.sent.handshake > 200 && spent.received.handshake > 500);
    assert!(spent.sent.record > 0 && spent.received.head > 0);
    assert_eq!(spent.sent.again, 0);

    assert_eq!(device.run().await, NO_DATA);
    assert_eq!(service.asked(), ["cmd"]);
    let spent = device.spent();
    assert_eq!((spent.handshakes_full, spent.round_trips), (0, 1));
    assert_eq!((spent.sent.handshake, spent.sent.token), (0, 0));
    assert!(spent.sent.total() + spent.received.total() < 200, "{spent}");
}

#[tokio::test]
async fn ours_goes_on_in_the_next_program_without_a_handshake() {
    let service = CoapService::start().await;
    service.book().max_age_s = Some(3600);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coap-session");
    let one_run = async || {
        let coap = service.coap().kept_in(file.clone());
        let mut device = Device::new(Conduct::Careful, coap);
        assert_eq!(device.run().await, NO_DATA, "{:?}", device.told);
        assert!(!file.exists(), "in use");
        device.agent.finish().await;
        device.spent()
    };
    let first = one_run().await;
    assert_eq!(first.handshakes_full, 1);
    assert_eq!(service.asked(), ["auth-jwt", "cmd"]);
    assert!(file.exists());
    for _ in 0..3 {
        let next = one_run().await;
        assert_eq!((next.handshakes_full, next.handshakes_resumed), (0, 0));
        assert_eq!(service.asked(), ["cmd"]);
    }
    let events = service.events();
    assert_eq!(events[0], "full");
    assert!(
        events[1..].iter().all(|event| *event == "moved"),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_kept_session_of_another_service_or_root_is_not_used() {
    let service = CoapService::start().await;
    let other = CoapService::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coap-session");
    let mut device = Device::new(Conduct::Careful, service.coap().kept_in(file.clone()));
    device.run().await;
    device.agent.finish().await;
    let mut device = Device::new(Conduct::Careful, other.coap().kept_in(file.clone()));
    assert_eq!(device.run().await, NO_DATA);
    assert_eq!(other.events(), ["full"]);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_damaged_file_costs_a_handshake() {
    let service = CoapService::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coap-session");
    let mut device = Device::new(Conduct::Careful, service.coap().kept_in(file.clone()));
    device.run().await;
    device.agent.finish().await;
    let whole = std::fs::read(&file).unwrap();
    for keep in [0, 1, 2, 20, whole.len() / 2, whole.len() - 1] {
        sectag_keep::write_private(&file, &whole[..keep]).unwrap();
        service.events();
        let mut device = Device::new(Conduct::Careful, service.coap().kept_in(file.clone()));
        assert_eq!(device.run().await, NO_DATA, "{keep}: {:?}", device.told);
        assert_eq!(service.events(), ["full"], "{keep}");
    }
}

#[tokio::test]
async fn an_orderly_restart_of_the_service_is_not_noticed() {
    let service = CoapService::start().await;
    let mut device = Device::new(Conduct::Careful, service.coap());
    device.run().await;
    service.asked();
    service.restart(Restart::Orderly).await;
    service.events();
    assert_eq!(device.run().await, NO_DATA, "{:?}", device.told);
    assert_eq!(service.asked(), ["cmd"]);
    assert!(!service.events().contains(&"full"));
}

#[tokio::test]
async fn after_a_crash_of_the_service_the_session_is_resumed_once() {
    let service = CoapService::start().await;
    let coap = service.coap().timeout(Duration::from_secs(1));
    let mut device = Device::new(Conduct::Careful, coap);
    device.run().await;
    service.restart(Restart::Crash).await;
    service.asked();
    service.events();
    assert_eq!(device.run().await, NO_DATA, "{:?}", device.told);
    assert_eq!(service.asked(), ["auth-jwt", "cmd"]);
    assert_eq!(service.events(), ["short"]);
    assert_eq!(device.spent().handshakes_resumed, 1);
}

#[tokio::test]
async fn a_session_that_went_through_programs_can_still_be_resumed() {
    let service = CoapService::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coap-session");
    for crash in [false, false, true] {
        if crash {
            service.restart(Restart::Crash).await;
        }
        service.events();
        let coap = service.coap().timeout(Duration::from_secs(1));
        let mut device = Device::new(Conduct::Careful, coap.kept_in(file.clone()));
        assert_eq!(device.run().await, NO_DATA, "{:?}", device.told);
        device.agent.finish().await;
        if crash {
            assert_eq!(service.events(), ["short"]);
        }
    }
}

#[tokio::test]
async fn a_service_that_was_not_reached_is_still_resumed_later() {
    let service = CoapService::start().await;
    let coap = service.coap().timeout(Duration::from_secs(1));
    let mut device = Device::new(Conduct::Careful, coap);
    device.run().await;
    service.restart(Restart::Crash).await;
    service.set_deaf(true);
    assert_ne!(device.run().await, NO_DATA);
    service.set_deaf(false);
    service.events();
    assert_eq!(device.run().await, NO_DATA, "{:?}", device.told);
    assert_eq!(service.handshakes().last(), Some(&"short"));
}

#[tokio::test]
async fn without_a_session_cache_each_handshake_is_a_full_one() {
    let service = CoapService::start().await;
    let coap = service.coap().session_cache(false);
    let mut device = Device::new(Conduct::Firmware, coap);
    for _ in 0..2 {
        device.run().await;
    }
    assert_eq!(service.handshakes(), ["full", "full"]);
    service.events();
    let mut device = Device::new(Conduct::Firmware, service.coap());
    for _ in 0..2 {
        device.run().await;
    }
    assert_eq!(service.handshakes(), ["full", "short"]);
}

#[tokio::test]
async fn a_session_that_the_service_ended_is_replaced_before_it_is_used() {
    let service = CoapService::start().await;
    let mut device = Device::new(Conduct::Careful, service.coap());
    device.run().await;
    service.close_all().await;
    // Its goodbye is on the way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    service.asked();
    assert_eq!(device.run().await, NO_DATA);
    assert_eq!(service.asked(), ["auth-jwt", "cmd"]);
    assert_eq!(device.spent().handshakes_resumed, 1);
}

#[tokio::test]
async fn the_firmware_with_keep_open_suspends_and_reports_on_its_session() {
    let service = CoapService::start().await;
    service.book().batches.extend(key_and_finish());
    let mut device = Device::new(Conduct::Firmware, service.coap());
    assert_eq!(device.run().await, Ending::Done, "{:?}", device.told);
    let tokens: Vec<_> = service.book().seen.clone();
    assert_eq!(
        service.asked(),
        [
            "auth-jwt", "cmd", "suspend", "rsp", "auth-jwt", "cmd", "suspend", "rsp"
        ]
    );
    assert_eq!(tokens[0].payload, tokens[4].payload, "one token");
    assert_eq!(service.handshakes(), ["full"]);
    service.hears_a_goodbye().await;
}

#[tokio::test]
async fn the_firmware_without_keep_open_connects_for_each_report() {
    let service = CoapService::start().await;
    service.book().batches.extend(key_and_finish());
    let mut device =
        Device::with_modem_version("mfw_nrf9160_1.3.6", Conduct::Firmware, service.coap());
    assert_eq!(device.run().await, Ending::Done, "{:?}", device.told);
    assert_eq!(
        service.asked(),
        [
            "auth-jwt", "cmd", "auth-jwt", "rsp", "auth-jwt", "cmd", "auth-jwt", "rsp"
        ]
    );
    let spent = device.spent();
    assert_eq!((spent.handshakes_full, spent.handshakes_resumed), (1, 2));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_counted() {
    let service = CoapService::start().await;
    let mut device = Device::new(
        Conduct::Careful,
        service.coap().timeout(Duration::from_secs(20)),
    );
    device.run().await;
    service.asked();
    service.set_deaf(true);
    let hears_again = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        service.set_deaf(false);
    };
    let (ending, ()) = tokio::join!(device.run(), hears_again);
    assert_eq!(ending, NO_DATA, "{:?}", device.told);
    assert_eq!(service.asked(), ["cmd"]);
    assert!(device.spent().sent.again > 0);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_a_timeout() {
    let service = CoapService::start().await;
    service.book().replies.push_back(("cmd", Reply::Silence));
    let coap = service.coap().timeout(Duration::from_millis(700));
    let mut device = Device::new(Conduct::Careful, coap);
    assert_eq!(device.run().await, Ending::Failed(Errno::TimedOut));
    assert!(
        device.told.contains(&"`GET p/cmd`".to_owned()),
        "{:?}",
        device.told
    );
    service.set_deaf(true);
    assert_eq!(device.run().await, Ending::Failed(Errno::TimedOut));
    assert!(
        device.told[1].starts_with("no answer to the DTLS handshake within"),
        "{:?}",
        device.told
    );
}

#[tokio::test]
async fn nobody_there_is_a_refused_connection() {
    let port = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let service = CoapService::start().await;
    let coap = Coap::new("localhost", port, &service.root_pem)
        .unwrap()
        .at(([127, 0, 0, 1], port).into());
    let mut device = Device::new(Conduct::Careful, coap);
    assert_eq!(device.run().await, Ending::Failed(Errno::ConnectionRefused));
    assert!(device.events.contains(&Event::FailedWrongRootCa));
    assert_eq!(
        device.told[1],
        "nothing listens on that UDP port: the host sent `port unreachable`"
    );
}

#[tokio::test]
async fn a_wrong_root_ca_and_a_wrong_name_are_refused_and_told() {
    let service = CoapService::start().await;
    let other = CoapService::start().await;
    let elsewhere = CoapService::start_as("other.example").await;
    let wrong_ca = Coap::new("localhost", service.port, &other.root_pem).unwrap();
    let wrong_name = Coap::new("localhost", elsewhere.port, &elsewhere.root_pem).unwrap();
    for (coap, port, sentence) in [
        (wrong_ca, service.port, "no trusted authority signed it"),
        (
            wrong_name,
            elsewhere.port,
            "it is for `other.example`, not for `localhost`",
        ),
    ] {
        let coap = coap.at(([127, 0, 0, 1], port).into());
        let mut device = Device::new(Conduct::Careful, coap);
        assert_eq!(device.run().await, Ending::Failed(Errno::ConnectionRefused));
        assert!(device.events.contains(&Event::FailedWrongRootCa));
        let told = device.told.join(": ");
        assert!(told.contains(sentence), "{told}");
    }
}

#[tokio::test]
async fn a_device_without_a_root_ca_trusts_nobody() {
    let service = CoapService::start().await;
    let mut coap = service.coap();
    coap.trust(None).unwrap_err();
    let mut device = Device::new(Conduct::Careful, coap);
    assert_eq!(device.run().await, Ending::Failed(Errno::ConnectionRefused));
    assert_eq!(
        device.told[1],
        "no root CA is trusted, so no server can be verified"
    );
    assert!(service.events().is_empty());
}

#[tokio::test]
async fn an_unclaimed_device_has_its_token_to_show() {
    let service = CoapService::start().await;
    let refused = Reply::With(Response::new(Code::UNAUTHORIZED));
    service.book().replies.push_back(("auth-jwt", refused));
    let mut device = Device::new(Conduct::Careful, service.coap());
    assert_eq!(device.run().await, Ending::Failed(Errno::Access));
    let shown = device
        .events
        .iter()
        .any(|event| matches!(event, Event::FailedDeviceNotClaimed { token: Some(_) }));
    assert!(shown, "{:?}", device.events);
    // Claimed meanwhile: the session is there already.
    assert_eq!(device.run().await, NO_DATA);
    assert_eq!(service.events(), ["full"]);
}

#[tokio::test]
async fn a_batch_in_blocks_arrives_whole_and_one_too_large_does_not() {
    let service = CoapService::start().await;
    let setting = |value: String| {
        let pair = ("a/key".to_owned(), value);
        encode_commands(&[command("u.1", Action::Config(vec![pair]))])
    };
    let batch = setting("x".repeat(900));
    service.book().batches.push_back(batch.clone());
    let coap = service.coap().block_bytes(256);
    let mut device = Device::new(Conduct::Careful, coap);
    assert_eq!(device.run().await, NO_DATA, "{:?}", device.told);
    assert_eq!(device.spent().received.cbor, batch.len() as u64);
    assert!(device.spent().round_trips >= 8, "{}", device.spent());

    service.book().batches.push_back(setting("x".repeat(1100)));
    assert_eq!(device.run().await, Ending::Failed(Errno::NoMemory));
    assert!(device.events.contains(&Event::FailedTooManyCommands));
}

#[tokio::test]
async fn a_run_that_was_stopped_says_goodbye_and_the_next_resumes() {
    let service = CoapService::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("coap-session");
    service.book().replies.push_back(("cmd", Reply::Silence));
    let mut device = Device::new(Conduct::Careful, service.coap().kept_in(file.clone()));
    let stop = tokio::time::sleep(Duration::from_millis(500));
    tokio::select! {
        ending = device.run() => panic!("{ending:?}"),
        () = stop => {}
    }
    device.agent.finish().await;
    service.hears_a_goodbye().await;
    let mut device = Device::new(Conduct::Careful, service.coap().kept_in(file));
    assert_eq!(device.run().await, NO_DATA, "{:?}", device.told);
    assert_eq!(service.handshakes(), ["full", "short"]);
}

/// The service keeps what it granted to itself: a session is as long authorised as it says.
#[tokio::test]
async fn an_authorisation_that_ran_out_is_asked_for_again() {
    let service = CoapService::start().await;
    service.book().max_age_s = Some(1);
    let mut device = Device::new(Conduct::Careful, service.coap());
    device.run().await;
    assert_eq!(service.asked(), ["auth-jwt", "cmd"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(device.run().await, NO_DATA);
    assert_eq!(service.asked(), ["auth-jwt", "cmd"]);
    assert_eq!(service.handshakes(), ["full"]);
}

#[tokio::test]
async fn a_busy_service_is_asked_again_when_it_says() {
    let service = CoapService::start().await;
    let busy = Response::new(Code::INTERNAL).max_age(40);
    service.book().replies.push_back(("cmd", Reply::With(busy)));
    let mut device = Device::new(Conduct::Careful, service.coap());
    assert_eq!(device.run().await, Ending::Failed(Errno::Busy));
    assert_eq!(service.handshakes(), ["full"]);
    assert_eq!(device.run().await, NO_DATA);
    assert_eq!(service.handshakes(), ["full"]);
}

#[tokio::test]
async fn a_root_that_is_trusted_no_more_is_not_resumed_either() {
    let service = CoapService::start().await;
    let other = CoapService::start().await;
    let mut options = Options::ours();
    for option in ["auto-start=n", "scheduled=n", "root-ca-sec-tag=50"] {
        options.apply_flag(option).unwrap();
    }
    let config = options.client_config(&Identity {
        modem_version: "mfw_nrf91x1_2.0.2".to_owned(),
        seed: 7,
        radio_rest: Duration::ZERO,
    });
    let tag = options.root_ca_tag();
    let mut modem = SharedModem::new(VirtualModem::from_seed(7));
    verbs::place_root_ca(&mut modem, tag, &service.root_pem).unwrap();
    let settings = Box::<VolatileSettings>::default();
    let timed = Box::new(HostedModem::new(modem.clone()));
    let (resident, handle) = Resident::new(config, service.coap(), timed, settings).unwrap();
    let resident = resident.rooted_in(tag);
    tokio::spawn(async move {
        let _ = resident.run(std::future::pending(), &mut |_| {}).await;
    });
    let run = async |seen: u64| {
        handle.now().await.unwrap();
        let journal = handle.journal();
        loop {
            let entries = journal.after(seen);
            if let Some(stop) = entries.iter().find(|entry| entry.event == "STOP") {
                let names: Vec<String> = entries.iter().map(|e| e.event.to_string()).collect();
                return (stop.seq, names);
            }
            journal
                .beyond(entries.last().map_or(seen, |last| last.seq))
                .await;
        }
    };
    let (seen, names) = run(0).await;
    assert!(names.contains(&"NO_COMMANDS".to_owned()), "{names:?}");
    modem.line("AT%CMNG=3,50,0");
    verbs::place_root_ca(&mut modem, tag, &other.root_pem).unwrap();
    let (_, names) = run(seen).await;
    assert!(
        names.contains(&"FAILED_WRONG_ROOT_CA".to_owned()),
        "{names:?}"
    );
    assert!(!service.handshakes().contains(&"short"));
}
