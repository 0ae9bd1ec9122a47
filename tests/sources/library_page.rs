//! The page of the nRF Cloud device provisioning library, row by row (tests/sources/README.md, L).
//!
//! What needs the project beside its one binary stands in `library_page_c.rs` (the library for C) and `library_page_town.rs`
//! (the charts on a virtual clock). Rows about CoAP run over CoAP; a program built without it refuses, and that is asserted.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "library_page/desk.rs"]
mod desk;
#[path = "library_page/shell.rs"]
mod l13_shell;
#[path = "library_page/options.rs"]
mod l2_options;
#[path = "library_page/running.rs"]
mod running;
#[path = "../../crates/cli/tests/support/mod.rs"]
mod support;
#[path = "library_page/tap.rs"]
mod tap;

use desk::{Desk, steps};
use running::Running;
use sectag_device::agent::{Happening, Resident, journal::described};
use sectag_device::hosted::HostedModem;
use sectag_device::https::Https;
use sectag_device::options::{Identity, Options};
use sectag_device::settings::VolatileSettings;
use sectag_device::verbs;
use sectag_modem::{SharedModem, VirtualModem};
use sectag_proto::Uptime;
use sectag_proto::device::{CallError, Client};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use support::{DEADLINE, Home};
use tap::Tap;

/// Whether the program under test speaks CoAP.
const COAP: bool = cfg!(feature = "coap");
/// What it says otherwise.
const NO_COAP: &str = "CoAP is not built into this program";

/// How the charts are played.
const TRANSPORTS: &[&[&str]] = if COAP {
    &[&[], &["--transport", "coap"]]
} else {
    &[&[]]
};

/// Three commands that work: one for the settings, one for the modem, and the end.
fn good() -> [Value; 3] {
    [
        json!({ "config": { "greeting": "hello" } }),
        json!({ "clientPrivateKeyGeneration": { "secTag": 7 } }),
        json!({ "finished": {} }),
    ]
}

/// The second of four fails: nothing lies under tag 99.
fn failing() -> [Value; 4] {
    [
        json!({ "config": { "greeting": "hello" } }),
        json!({ "atCommand": { "command": "%CMNG", "parameters": "3,99,1" } }),
        json!({ "clientPrivateKeyGeneration": { "secTag": 7 } }),
        json!({ "finished": {} }),
    ]
}

/// AT commands, settings, TLS with HTTP, JWT and CBOR carry one session; DTLS with CoAP the next.
#[test]
fn l1_one_session_uses_at_settings_https_jwt_and_cbor() {
    let desk = Desk::new();
    desk.queue(&good());
    let session = desk.session(&[]).expect_code(0);
    assert_eq!(session.stdout, "DONE\n");
    assert!(
        session.stderr.contains("→ 200, ") && session.stderr.contains("bytes of CBOR responses"),
        "{session:#?}"
    );
    assert!(steps(&session).contains(&"AT%KEYGEN=7,2,1 → OK".to_owned()));
    let settings = desk.home.read("devices/device-1/settings.json");
    assert!(settings.contains("\"greeting\": \"hello\""), "{settings}");
    let known = desk.home.json(&["devices", "show", &desk.id]);
    assert!(known["keyId"].is_string(), "the JWT's key is pinned");

    // Without TLS there is no answer.
    let mut plain = TcpStream::connect(desk.up.listeners.device).unwrap();
    plain.set_read_timeout(Some(DEADLINE)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");

    desk.queue(&good());
    let coap = desk.session(&["--transport", "coap"]);
    if !COAP {
        assert!(
            coap.stderr.starts_with(&format!("error: {NO_COAP}")),
            "{coap:#?}"
        );
        return;
    }
    assert_eq!(coap.stdout, "DONE\n", "{coap:#?}");
    assert!(
        coap.stderr.contains("dtls     full handshake") && coap.stderr.contains("→ 200, "),
        "{coap:#?}"
    );
    assert!(steps(&coap).contains(&"AT%KEYGEN=7,2,1 → OK".to_owned()));
    assert_eq!(desk.statuses(), ["SUCCEEDED"; 6]);
}

/// The two functions of the page in Rust; those for C are in `library_page_c.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn l3_init_with_a_callback_and_a_manual_trigger() {
    let desk = Desk::blank();
    let mut modem = HostedModem::new(SharedModem::new(VirtualModem::from_seed(3)));
    let mut options = Options::ours();
    options.apply_flag("auto-start=n").unwrap();
    options.apply_flag("scheduled=n").unwrap();
    let config = options.client_config(&Identity {
        modem_version: verbs::firmware(&mut modem).unwrap(),
        seed: 3,
        radio_rest: Duration::ZERO,
    });

    // Their results.
    let mut client = Client::new(config.clone()).unwrap();
    assert_eq!(client.trigger(Uptime(0)), Err(CallError::NotInitialised));
    assert_eq!(client.init(Uptime(0)), Ok(()));
    assert_eq!(client.init(Uptime(0)), Err(CallError::Already));
    assert_eq!(client.trigger(Uptime(0)), Ok(()));

    // The same, carried: `run` is init, and what it is given is the callback.
    let root = desk.home.read("ca/root.crt");
    let https = Https::new("localhost", desk.up.listeners.device.port(), &root).unwrap();
    let settings = Box::<VolatileSettings>::default();
    let (library, handle) = Resident::new(config, https, Box::new(modem), settings).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let library = tokio::spawn(async move {
        let mut callback = move |happening: Happening<'_>| {
            if let Happening::Event(event) = happening {
                let _ = tell.send(described(event).0);
            }
        };
        library.run(std::future::pending(), &mut callback).await
    });
    handle.now().await.unwrap();
    let mut events = Vec::new();
    while events.last() != Some(&"STOP") {
        let next = tokio::time::timeout(DEADLINE, told.recv()).await;
        events.push(next.unwrap().unwrap());
    }
    assert_eq!(events, ["START", "FAILED_DEVICE_NOT_CLAIMED", "STOP"]);
    library.abort();
}

/// With SCHEDULED it comes by itself, without it when it is asked; asking works in both.
#[test]
fn l4_scheduled_or_manual_and_a_trigger_works_in_both() {
    let desk = Desk::new();
    let mut scheduled = Running::device(&desk.home, &["--json", "-o", "spread-s=0"]);
    let session = ["START", "NO_COMMANDS", "STOP"];
    scheduled.prints("SCHEDULED_PROVISIONING");
    assert_eq!(scheduled.session(), session);
    scheduled.prints("SCHEDULED_PROVISIONING");
    desk.home.sectag(&["device", "now"]).expect_code(0);
    assert_eq!(scheduled.session(), session);
    scheduled.stop();

    let prj = desk.home.beside("prj.conf");
    let project = ["AUTO_START_ON_INIT", "SCHEDULED"];
    let project = project.map(|name| format!("CONFIG_NRF_PROVISIONING_{name}=n\n"));
    std::fs::write(&prj, project.concat()).unwrap();
    let manual = ["--json", "--kconfig", prj.to_str().unwrap()];
    let mut manual = Running::device(&desk.home, &manual);
    let interval = desk.home.json(&["device", "interval"]);
    assert_eq!(interval["nextSeconds"], Value::Null, "{interval}");
    desk.home.sectag(&["device", "now"]).expect_code(0);
    assert_eq!(manual.session(), session);
    manual.stop();
}

/// A provisioning command changes the interval, and the device reads it from its settings when it starts again.
#[test]
fn l5_the_interval_is_a_setting_that_a_command_changes() {
    let desk = Desk::new();
    let args = ["--json", "-o", "spread-s=0", "-o", "interval-s=3600"];
    let mut device = Running::device(&desk.home, &args);
    device.session();
    let interval = || desk.home.json(&["device", "interval"])["seconds"].clone();
    assert_eq!(interval(), 3600);
    desk.queue(&[
        json!({ "config": { "provisioning/interval-sec": "7200" } }),
        json!({ "finished": {} }),
    ]);
    desk.home.sectag(&["device", "now"]).expect_code(0);
    assert!(device.session().contains(&"DONE".to_owned()));
    let next = device.prints("SCHEDULED_PROVISIONING");
    let next: Value = serde_json::from_str(&next).unwrap();
    let wait = next["seconds"].as_u64().unwrap();
    assert!(
        (7100..=7200).contains(&wait),
        "from the session's beginning: {next}"
    );
    assert_eq!(interval(), 7200);
    device.stop();

    let mut again = Running::device(&desk.home, &args);
    again.session();
    assert_eq!(interval(), 7200, "the settings go before the option");
    again.stop();
}

/// The modem is offline while it is written, and back afterwards; also when a command failed.
#[test]
fn l6_the_modem_is_offline_while_it_is_written_and_back_afterwards() {
    let mut desk = Desk::blank();
    let serve = [
        "modem",
        "serve",
        "--seed",
        "6",
        "--tcp",
        "127.0.0.1:0",
        "--online",
    ];
    let mut served = Running::start(&desk.home, &serve);
    let modem = format!("tcp:{}", served.prints("127.0.0.1:"));
    let mode = |desk: &Desk| {
        let asked = desk
            .home
            .sectag(&["modem", "at", "--modem", &modem, "AT+CFUN?"]);
        asked.expect_code(0).stdout
    };
    let unclaimed = desk.session(&["--modem", &modem]).expect_code(1);
    let (_, token) = unclaimed.stderr.split_once("sectag claim ").unwrap();
    desk.claim(token.trim());

    for (commands, write) in [
        (&good()[..], "AT%KEYGEN=7,2,1 → OK"),
        (&failing()[..], "AT%CMNG=3,99,1 → +CME ERROR: 513"),
    ] {
        desk.queue(commands);
        let session = desk.session(&["--modem", &modem]).expect_code(0);
        let steps = steps(&session);
        let place = |step: &str| {
            let found = steps.iter().position(|done| done == step);
            found.unwrap_or_else(|| panic!("no `{step}` in {steps:#?}"))
        };
        let order = ["AT+CFUN=4 → OK", write, "AT+CFUN=1 → OK", "POST 200"].map(place);
        assert!(order.is_sorted(), "{steps:#?}");
        assert!(mode(&desk).contains("+CFUN: 1"), "online as before");
    }
    served.stop();
}

/// One handshake before the request, one before the report, in our conduct and in the firmware's: the radio was off in
/// between, and TCP does not survive that. A DTLS session does, by its Connection ID.
#[test]
fn l7_a_handshake_before_the_request_and_one_before_the_report() {
    let desk = Desk::new();
    let tap = Tap::before(desk.up.listeners.device);
    for conduct in [&[][..], &["--faithful"]] {
        desk.queue(&good());
        let session = desk.session(&[&["--port", &tap.port], conduct].concat());
        assert_eq!(session.stdout, "DONE\n", "{session:#?}");
        assert_eq!(tap.handshakes(), 2, "{conduct:?}: {session:#?}");
    }

    if COAP {
        desk.queue(&good());
        let session = desk.session(&["--transport", "coap"]);
        assert_eq!(session.stdout, "DONE\n", "{session:#?}");
        assert!(
            session.stderr.contains("air      coap: 1 handshake, "),
            "{session:#?}"
        );
    }

    // The server is checked: a root CA of somebody else's home does not do.
    let other = Home::new();
    let _other_up = other.up(&[]);
    let foreign = other.path().join("ca/root.crt");
    let wrong = [
        "-o",
        "root-ca-sec-tag=51",
        "--ca",
        foreign.to_str().unwrap(),
    ];
    let refused = desk.session(&wrong).expect_code(1);
    assert!(
        refused
            .stderr
            .contains("the TLS handshake failed: invalid peer certificate: ")
            && refused
                .stderr
                .contains("does not chain to the root CA under sec tag 51"),
        "{refused:#?}"
    );
}

/// The JWT is what authenticates the device: without a good one the service has no answer for it.
#[tokio::test(flavor = "multi_thread")]
async fn l7_a_jwt_authenticates_the_device() {
    let desk = Desk::new();
    let root = desk.home.read("ca/root.crt");
    let https = Https::new("localhost", desk.up.listeners.device.port(), &root).unwrap();
    let no_results = [0x80];
    let answer = https.report("not.a.jwt", &no_results).await.unwrap();
    assert_eq!(answer.status, 401);
    let mut stranger = HostedModem::new(SharedModem::new(VirtualModem::from_seed(7)));
    let jwt = verbs::jwt(&mut stranger, 0, Duration::from_secs(300)).unwrap();
    let answer = https.report(jwt.expose(), &no_results).await.unwrap();
    assert_eq!(answer.status, 401, "signed, and of a device nobody claimed");
}

/// Results are reported when everything succeeded, or at the first error: the successes before it, and the error.
#[test]
fn l8_results_are_reported_at_the_end_or_at_the_first_error() {
    let desk = Desk::new();
    desk.queue(&good());
    let session = desk.session(&[]).expect_code(0);
    let posts = |session| {
        let steps = steps(session);
        steps.iter().filter(|step| step.starts_with("POST")).count()
    };
    assert_eq!(
        (session.stdout.as_str(), posts(&session)),
        ("DONE\n", 1),
        "{session:#?}"
    );

    desk.queue(&failing());
    let session = desk.session(&[]).expect_code(0);
    assert_eq!(posts(&session), 1, "{session:#?}");
    assert!(
        !steps(&session)
            .iter()
            .any(|step| step.starts_with("AT%KEYGEN")),
        "what stands behind the error was not tried: {session:#?}"
    );
    let commands = desk.commands();
    let [config, at, ..] = &commands[good().len()..] else {
        panic!("{commands:#?}")
    };
    assert_eq!(config["status"], "SUCCEEDED");
    assert_eq!(
        at["response"]["atCommand"],
        json!({ "cmeError": 513, "message": "+CME ERROR: 513", "failure": "refusedByDevice" })
    );
}

/// Successes leave the queue; after an error the failed command and all behind it leave it too, and stay visible.
#[test]
fn l9_everything_leaves_the_queue_and_the_owner_still_sees_it() {
    let desk = Desk::new();
    let queue_is_empty = || {
        let session = desk.session(&[]).expect_code(0);
        let gets: Vec<_> = steps(&session);
        gets.contains(&"GET 204".to_owned()) && session.stdout == "NO_COMMANDS\n"
    };
    desk.queue(&good());
    desk.session(&[]).expect_code(0);
    assert_eq!(desk.statuses(), ["SUCCEEDED"; 3]);
    assert!(queue_is_empty());

    desk.queue(&failing());
    desk.session(&[]).expect_code(0);
    assert_eq!(
        desk.statuses()[good().len()..],
        ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]
    );
    assert!(queue_is_empty());
    let commands = desk.commands();
    let culprit = commands[good().len() + 1]["id"].as_str().unwrap();
    for (place, kind) in [(2, "clientPrivateKeyGeneration"), (3, "finished")] {
        let dropped = &commands[good().len() + place]["response"][kind];
        assert_eq!(
            dropped["message"],
            format!("not executed: command {culprit} (atCommand) failed before it")
        );
    }
}

/// The device's log names the command that failed, its number, and what the modem said.
#[test]
fn l10_the_log_names_the_failed_command_and_the_modems_words() {
    let desk = Desk::new();
    desk.queue(&failing());
    let session = desk.session(&["-v"]).expect_code(0);
    let line = |part: &str| {
        let found = session.stderr.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no `{part}`: {session:#?}"))
    };
    let shown = line("  failed   command 2 (");
    assert!(
        shown.ends_with("): AT%CMNG=3,99,1: CME 513: +CME ERROR: 513"),
        "{shown}"
    );
    let logged = line(" WARN ");
    assert!(
        logged.contains("command failed index=1 correlation=")
            && logged.ends_with(r#"command="AT%CMNG=3,99,1" number=513 answer="+CME ERROR: 513""#),
        "{logged}"
    );
    // The page's own words around it.
    for words in [
        "Requesting commands",
        "Connected",
        "Processing commands",
        "Sending response to server",
        "No commands to process on server side",
    ] {
        line(words);
    }
}

/// The chart of success over HTTPS, over CoAP and in the demo; in the town it is in `library_page_town.rs`.
#[test]
fn l11_the_chart_of_success() {
    for transport in TRANSPORTS {
        let desk = Desk::new();
        desk.queue(&good());
        let manual = ["--json", "-o", "auto-start=n", "-o", "scheduled=n"];
        let mut device = Running::device(&desk.home, &[&manual[..], transport].concat());
        desk.home.sectag(&["device", "now"]).expect_code(0);
        assert_eq!(
            device.session(),
            [
                "START",
                "NEED_LTE_DEACTIVATED",
                "NEED_LTE_ACTIVATED",
                "DONE",
                "STOP"
            ],
            "{transport:?}"
        );
        device.stop();
        assert_eq!(desk.statuses(), ["SUCCEEDED"; 3], "{transport:?}");
    }

    let told = Home::new().sectag(&["demo"]).expect_code(0);
    assert!(told.stdout.contains("From nothing to a received message"));
}

/// The chart of failure, likewise.
#[test]
fn l12_the_chart_of_failure() {
    for transport in TRANSPORTS {
        let desk = Desk::new();
        desk.queue(&failing());
        let manual = ["--json", "-o", "auto-start=n", "-o", "scheduled=n"];
        let mut device = Running::device(&desk.home, &[&manual[..], transport].concat());
        desk.home.sectag(&["device", "now"]).expect_code(0);
        assert_eq!(
            device.session(),
            [
                "START",
                "NEED_LTE_DEACTIVATED",
                "NEED_LTE_ACTIVATED",
                "NO_COMMANDS",
                "STOP"
            ],
            "{transport:?}"
        );
        device.stop();
        assert_eq!(
            desk.statuses(),
            ["SUCCEEDED", "FAILED", "FAILED", "FAILED"],
            "{transport:?}"
        );
    }

    let told = Home::new().sectag(&["demo", "--failing"]).expect_code(0);
    let (_, seen) = told.stdout.rsplit_once("What the owner sees\n").unwrap();
    let statuses: Vec<_> = seen
        .lines()
        .take(4)
        .filter_map(|row| row.split_whitespace().nth(2))
        .collect();
    assert_eq!(statuses, ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]);
}
