//! The order of events of one session for each way it can end, over real TLS (spec/device-protocol §11).
#![allow(clippy::unwrap_used)]

mod service;

use std::time::Duration;

use sectag_device::agent::journal::described;
use sectag_device::agent::{Agent, Happening};
use sectag_device::hosted::HostedModem;
use sectag_device::https::Https;
use sectag_device::settings::VolatileSettings;
use sectag_modem::{Modem, Options, SharedModem, VirtualModem};
use sectag_proto::CorrelationId;
use sectag_proto::device::{Conduct, Config, Ending, Errno};
use sectag_proto::wire::{Action, WireCommand, encode_commands};
use service::{Answer, Service};

fn command(id: &str, action: Action) -> WireCommand {
    WireCommand {
        correlation: CorrelationId::new(id).unwrap(),
        action,
    }
}

fn keygen_and_finished() -> Vec<u8> {
    let keygen = Action::At {
        set_command: "%KEYGEN".to_owned(),
        parameters: "42,2,0".to_owned(),
        ignore: vec![],
    };
    encode_commands(&[command("u.1", keygen), command("u.2", Action::Finished)])
}

fn online() -> HostedModem {
    let mut modem = HostedModem::new(SharedModem::new(VirtualModem::from_seed(41)));
    modem.line("AT+CGEREP=1");
    modem.line("AT+CFUN=1");
    modem
}

fn config(conduct: Conduct) -> Config {
    Config {
        modem_version: "mfw_nrf91x1_2.0.2".to_owned(),
        radio_rest: Duration::ZERO,
        radio_wait: Duration::from_millis(10),
        time_wait: Duration::ZERO,
        conduct,
        ..Config::default()
    }
}

/// The firmware's events and the ending of one session.
async fn played(
    https: Https,
    modem: &mut (dyn Modem + Send),
    conduct: Conduct,
) -> (Vec<&'static str>, Ending) {
    // The second group of events is for logs.
    const FIRMWARE: [&str; 13] = [
        "START",
        "STOP",
        "DONE",
        "FAILED",
        "NO_COMMANDS",
        "FAILED_TOO_MANY_COMMANDS",
        "FAILED_DEVICE_NOT_CLAIMED",
        "FAILED_WRONG_ROOT_CA",
        "FAILED_NO_VALID_DATETIME",
        "NEED_LTE_DEACTIVATED",
        "NEED_LTE_ACTIVATED",
        "SCHEDULED_PROVISIONING",
        "FATAL_ERROR",
    ];
    let mut names = Vec::new();
    let mut agent = Agent::new(config(conduct), https);
    let ending = agent
        .run_once(modem, &mut VolatileSettings::default(), &mut |happening| {
            if let Happening::Event(event) = happening {
                names.push(described(event).0);
            }
        })
        .await;
    names.retain(|name| FIRMWARE.contains(name));
    (names, ending)
}

async fn answered(answers: Vec<Answer>) -> (Vec<&'static str>, Ending) {
    let service = Service::start(answers).await;
    let https = service.https().timeout(Duration::from_millis(500));
    played(https, &mut online(), Conduct::Careful).await
}

const OFF_AND_ON: [&str; 2] = ["NEED_LTE_DEACTIVATED", "NEED_LTE_ACTIVATED"];

fn around(inner: &[&'static str]) -> Vec<&'static str> {
    [&["START"], inner, &["STOP"]].concat()
}

#[tokio::test]
async fn each_answer_of_the_service_has_its_order() {
    let many = encode_commands(
        &(0..11)
            .map(|number| command(&format!("u.{number}"), Action::Finished))
            .collect::<Vec<_>>(),
    );
    let table = [
        (
            vec![
                Answer::Status(200, keygen_and_finished()),
                Answer::Status(200, vec![]),
            ],
            around(&[OFF_AND_ON[0], OFF_AND_ON[1], "DONE"]),
            Ending::Done,
        ),
        (
            vec![Answer::Status(204, vec![])],
            around(&["NO_COMMANDS"]),
            Ending::Failed(Errno::NoData),
        ),
        (
            vec![Answer::Status(401, vec![])],
            around(&["FAILED_DEVICE_NOT_CLAIMED"]),
            Ending::Failed(Errno::Access),
        ),
        (
            vec![Answer::Status(200, many)],
            around(&["FAILED_TOO_MANY_COMMANDS"]),
            Ending::Failed(Errno::NoMemory),
        ),
        (
            vec![Answer::Status(500, vec![])],
            around(&["FAILED"]),
            Ending::Failed(Errno::Busy),
        ),
        (
            vec![Answer::Silence],
            around(&["FAILED"]),
            Ending::Failed(Errno::TimedOut),
        ),
        (
            vec![Answer::Status(403, vec![])],
            around(&["FAILED"]),
            Ending::Failed(Errno::Permission),
        ),
    ];
    for (answers, order, ending) in table {
        assert_eq!(answered(answers).await, (order, ending));
    }
}

#[tokio::test]
async fn a_wrong_root_ca_has_its_order() {
    let (service, other) = (Service::start(vec![]).await, Service::start(vec![]).await);
    let https = Https::new("localhost", service.port, &other.root_pem)
        .unwrap()
        .at(([127, 0, 0, 1], service.port).into());
    assert_eq!(
        played(https, &mut online(), Conduct::Careful).await,
        (
            around(&["FAILED_WRONG_ROOT_CA"]),
            Ending::Failed(Errno::ConnectionRefused)
        )
    );
}

#[tokio::test]
async fn a_modem_without_time_has_its_order() {
    let service = Service::start(vec![]).await;
    let mut modem = VirtualModem::from_seed(41);
    assert_eq!(
        played(service.https(), &mut modem, Conduct::Careful).await,
        (
            around(&["FAILED_NO_VALID_DATETIME"]),
            Ending::Failed(Errno::NoTime)
        )
    );
}

#[tokio::test]
async fn a_power_cut_at_the_key_fails_its_command_and_ends_in_order() {
    let service = Service::start(vec![
        Answer::Status(200, keygen_and_finished()),
        Answer::Status(200, vec![]),
    ])
    .await;
    let mut options = Options::default();
    options.inject("write#1:cut-before").unwrap();
    let modem = VirtualModem::new(
        sectag_modem::Identity::from_seed(41),
        options,
        sectag_modem::seeded(41),
    );
    let mut modem = HostedModem::new(SharedModem::new(modem));
    modem.line("AT+CFUN=1");
    let (names, ending) = played(service.https(), &mut modem, Conduct::Careful).await;
    assert_eq!(names.first(), Some(&"START"));
    assert_eq!(names.last(), Some(&"STOP"));
    assert_eq!(names.iter().filter(|name| **name == "STOP").count(), 1);
    assert!(matches!(ending, Ending::Failed(_)), "{names:?} {ending:?}");
    assert!(!names.contains(&"DONE"), "{names:?}");
}

#[tokio::test]
async fn the_firmware_brings_the_radio_back_for_every_batch() {
    let batch = || {
        vec![
            Answer::Status(
                200,
                encode_commands(&[
                    command("u.1", Action::Config(vec![("k".into(), "v".into())])),
                    command("u.2", Action::Finished),
                ]),
            ),
            Answer::Status(200, vec![]),
        ]
    };
    for (conduct, inner) in [
        (Conduct::Careful, vec!["DONE"]),
        (Conduct::Firmware, vec!["NEED_LTE_ACTIVATED", "DONE"]),
    ] {
        let service = Service::start(batch()).await;
        let (names, ending) = played(service.https(), &mut online(), conduct).await;
        assert_eq!((names, ending), (around(&inner), Ending::Done));
    }
}

#[tokio::test]
async fn the_firmware_loses_a_report_and_asks_again_and_ours_sends_it_again() {
    for (conduct, methods) in [
        (Conduct::Firmware, ["GET", "POST", "GET"]),
        (Conduct::Careful, ["GET", "POST", "POST"]),
    ] {
        let service = Service::start(vec![
            Answer::Status(200, keygen_and_finished()),
            Answer::Break,
            Answer::Status(
                if conduct == Conduct::Firmware {
                    204
                } else {
                    200
                },
                vec![],
            ),
        ])
        .await;
        played(service.https(), &mut online(), conduct).await;
        let sent: Vec<String> = service
            .requests()
            .iter()
            .map(|request| {
                let text = String::from_utf8_lossy(request);
                text.split(' ').next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(sent, methods, "{conduct:?}");
    }
}
