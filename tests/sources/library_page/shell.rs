//! L13: the shell of the page, as verbs and as the firmware's console.

use crate::desk::Desk;
use crate::running::Running;
use crate::support::DEADLINE;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// `nrf_provisioning` without a subcommand, as the firmware prints it.
const HELP: [&str; 6] = [
    "nrf_provisioning - nRF Provisioning commands",
    "Subcommands:",
    "  now       : Do provisioning now",
    "  token     : Get the attestation token",
    "  uuid      : Get device UUID",
    "  interval  : Set provisioning interval",
];
/// What host tools wait for.
const TRIGGERED: &str = "nrf_provisioning: Externally initiated provisioning";
const NOTICE: &str = "The shell is meant for testing. Do not enable it in production.";

/// The verbs talk to the running device over a socket that only its user can reach.
#[test]
fn l13_the_verbs_of_the_shell_talk_to_the_running_device() {
    let desk = Desk::new();
    let home = &desk.home;
    // It needs the library to be initialised.
    for verb in ["now", "interval", "events"] {
        let refused = home.sectag(&["device", verb]).expect_code(2);
        assert_eq!(
            refused.stderr,
            "error: device `device-1` does not run\n\n\
             hint: start it with `sectag device run --keep-running`\n"
        );
    }
    let mut device = Running::device(home, &["--json", "-o", "spread-s=0"]);
    device.session();
    assert_eq!(home.json(&["device", "uuid"])["id"], json!(desk.id));
    let token = home.json(&["device", "token"])["claimToken"].clone();
    assert_eq!(token.as_str().unwrap().len(), 180);
    home.sectag(&["device", "now"]).expect_code(0);
    device.session();
    home.sectag(&["device", "interval", "120"]).expect_code(0);
    assert_eq!(home.json(&["device", "interval"])["seconds"], 120);
    let events = home.sectag(&["device", "events"]).expect_code(0).stdout;
    assert!(events.contains("INTERVAL_CHANGED  seconds=120"), "{events}");
    device.stop();
}

/// The firmware's console, when it is asked for: help text, the line that host tools wait for, the notice.
#[test]
fn l13_the_console_is_off_unless_it_is_asked_for() {
    let desk = Desk::new();
    let mut quiet = Running::device(&desk.home, &["-o", "spread-s=0"]);
    quiet.types("nrf_provisioning uuid");
    // Time enough for an answer: a whole session.
    quiet.says("NO_COMMANDS");
    assert_eq!(quiet.printed(), Vec::<String>::new());
    quiet.stop();

    let mut console = Running::device(&desk.home, &["-o", "spread-s=0", "--shell"]);
    assert!(console.prints("").starts_with(NOTICE));
    console.says("NO_COMMANDS");
    console.types("nrf_provisioning");
    for line in HELP {
        console.prints(line);
    }
    console.types("nrf_provisioning uuid");
    console.prints(&desk.id);
    console.types("nrf_provisioning token");
    console.prints(".0oRD");
    console.types("nrf_provisioning interval");
    console.prints("Usage: nrf_provisioning interval <seconds>");
    console.types("nrf_provisioning interval 120");
    console.says("  interval 120 s");
    console.types("nrf_provisioning now");
    console.prints(TRIGGERED);
    console.says("NO_COMMANDS");
    console.stop();
}

/// The same console on a served modem; `now` needs the library beside it, and then the verbs reach it as well.
#[test]
fn l13_a_served_modem_has_the_console_in_its_shell() {
    let desk = Desk::new();
    let serve = [
        "modem",
        "serve",
        "--mode",
        "shell",
        "--plain",
        "--tcp",
        "127.0.0.1:0",
    ];
    let asked = |more: &[&str], line: &str, answer: &str| {
        let mut served = Running::start(&desk.home, &[&serve, more].concat());
        let mut shell = TcpStream::connect(served.prints("127.0.0.1:")).unwrap();
        shell.set_read_timeout(Some(DEADLINE)).unwrap();
        shell.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut heard = String::new();
        while !heard.contains(answer) {
            let mut bytes = [0; 512];
            let count = shell.read(&mut bytes).unwrap();
            assert!(count > 0, "`{answer}` is not in {heard:?}");
            heard += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        served
    };
    let uninitialised = "the client is not initialised (-EFAULT)";
    asked(&[], "nrf_provisioning now", uninitialised).stop();
    let manual = ["--provision", "-o", "auto-start=n", "-o", "scheduled=n"];
    let mut served = asked(&manual, "nrf_provisioning now", TRIGGERED);
    served.says("NO_COMMANDS");
    desk.home.sectag(&["device", "now"]).expect_code(0);
    served.says("NO_COMMANDS");
    served.stop();
}
