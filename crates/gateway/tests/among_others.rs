//! Our file among the broker's others: it is included before them, and what both do to each other is said before
//! anything is written.
#![allow(clippy::unwrap_used)]

mod cases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sectag_gateway::findings::{Finding, FindingId, Severity};
use sectag_gateway::mosquitto::{
    BrokerVersion, Files as _, Overlay, Placed, read, remove_include, with_include, within,
};

const MAIN: &str = "/etc/mosquitto/mosquitto.conf";
const FRAGMENT: &str = "/home/sectag/mosquitto/sectag-listener.conf";

/// Debian's main file, without its comments.
const DEBIAN: &str = "\
pid_file /run/mosquitto/mosquitto.pid

persistence true
persistence_location /var/lib/mosquitto/

log_dest file /var/log/mosquitto/mosquitto.log

include_dir /etc/mosquitto/conf.d
";

fn broker(main: &str, others: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::from([
        (PathBuf::from(MAIN), main.to_owned()),
        (
            PathBuf::from("/etc/mosquitto/conf.d/README"),
            "not read\n".to_owned(),
        ),
    ]);
    for (name, text) in others {
        files.insert(
            PathBuf::from("/etc/mosquitto/conf.d").join(name),
            (*text).to_owned(),
        );
    }
    files
}

fn fragment(name: &str, version: BrokerVersion) -> String {
    let case = cases::cases()
        .into_iter()
        .find(|case| case.name == name)
        .unwrap();
    case.render(version).text
}

fn look(main: &str, others: &[(&str, &str)], name: &str, version: BrokerVersion) -> Vec<Finding> {
    let text = fragment(name, version);
    let placed = Placed {
        main: Path::new(MAIN),
        fragment: Path::new(FRAGMENT),
        text: &text,
    };
    within(placed, &broker(main, others), version)
}

fn one(findings: &[Finding], id: FindingId, severity: Severity, says: &str) {
    let found = findings
        .iter()
        .find(|finding| finding.id == id && finding.severity == severity);
    let found = found.unwrap_or_else(|| panic!("{id} {findings:#?}"));
    assert!(found.sentence.contains(says), "{}", found.sentence);
    assert!(!found.fix.is_empty());
}

#[test]
fn in_debians_broker_nothing_is_in_the_way() {
    for version in [BrokerVersion::V2_0_11, BrokerVersion::V2_1_2] {
        assert_eq!(look(DEBIAN, &[], "mutual", version), []);
    }
}

#[test]
fn the_line_goes_before_the_first_include_and_the_whole_starts() {
    let (with, number) = with_include(DEBIAN, Path::new("/home/sectag/mosquitto"));
    assert_eq!(number, 9);
    assert_eq!(
        with.lines().nth(8),
        Some("include_dir /home/sectag/mosquitto")
    );
    assert_eq!(
        with.lines().nth(10),
        Some("include_dir /etc/mosquitto/conf.d")
    );
    assert_eq!(
        remove_include(&with, Path::new("/home/sectag/mosquitto")),
        DEBIAN
    );
    let files = broker(&with, &[]);
    let overlay = Overlay {
        below: &files,
        above: BTreeMap::from([(
            PathBuf::from(FRAGMENT),
            Some(fragment("server", BrokerVersion::V2_0_11)),
        )]),
    };
    let effective = read(Path::new(MAIN), &overlay, BrokerVersion::V2_0_11);
    assert!(
        effective.starts() && effective.problems.is_empty(),
        "{:?}",
        effective.problems
    );
    assert_eq!(effective.listeners.len(), 2);
    assert_eq!(
        effective.files,
        [PathBuf::from(MAIN), PathBuf::from(FRAGMENT)]
    );
    assert!(overlay.read(Path::new("/nope")).is_err());
}

#[test]
fn a_listener_of_others_on_our_port_is_found_with_its_line() {
    let others = [("tls.conf", "listener 8883\nallow_anonymous true\n")];
    let findings = look(DEBIAN, &others, "mutual", BrokerVersion::V2_0_11);
    one(
        &findings,
        FindingId::B2,
        Severity::Error,
        "/etc/mosquitto/conf.d/tls.conf:1: ",
    );
    let others = [("own.conf", "listener 1883 0.0.0.0\nallow_anonymous true\n")];
    let findings = look(DEBIAN, &others, "mutual", BrokerVersion::V2_0_11);
    one(
        &findings,
        FindingId::B2,
        Severity::Error,
        "/etc/mosquitto/conf.d/own.conf:1: ",
    );
}

#[test]
fn a_security_directive_above_our_line_would_stop_the_broker() {
    let main = format!("allow_anonymous false\n{DEBIAN}");
    let findings = look(&main, &[], "server", BrokerVersion::V2_0_11);
    one(
        &findings,
        FindingId::B3,
        Severity::Error,
        "`per_listener_settings true` after a security directive",
    );
    // 2.1 needs no such line.
    let findings = look(&main, &[], "server", BrokerVersion::V2_1_2);
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity < Severity::Error),
        "{findings:?}"
    );
}

#[test]
fn per_listener_settings_of_others_are_no_harm() {
    let others = [(
        "x.conf",
        "per_listener_settings true\nlistener 1884 127.0.0.1\nallow_anonymous true\n",
    )];
    for version in [BrokerVersion::V2_0_11, BrokerVersion::V2_1_2] {
        assert_eq!(look(DEBIAN, &others, "mutual", version), []);
    }
}

#[test]
fn a_listener_of_others_that_would_change_its_mind_is_found() {
    // Broker-wide now; with our `per_listener_settings true` it belongs to nobody.
    let others = [
        ("a.conf", "allow_anonymous true\n"),
        ("b.conf", "listener 1884 127.0.0.1\n"),
    ];
    let findings = look(DEBIAN, &others, "server", BrokerVersion::V2_0_11);
    one(
        &findings,
        FindingId::B4,
        Severity::Error,
        "/etc/mosquitto/conf.d/b.conf:1: ",
    );
    assert!(
        findings[0].fix.contains("allow_anonymous true"),
        "{findings:?}"
    );
    // Below its listener it stays.
    let others = [("b.conf", "listener 1884 127.0.0.1\nallow_anonymous true\n")];
    assert_eq!(look(DEBIAN, &others, "server", BrokerVersion::V2_0_11), []);
}

/// An ACL of the whole broker must not vanish from a listener: that would open it.
#[test]
fn rules_and_passwords_that_would_not_reach_a_listener_are_found() {
    let others = [
        (
            "a.conf",
            "acl_file /etc/mosquitto/acl\npassword_file /etc/mosquitto/passwd\n",
        ),
        ("b.conf", "listener 1884 127.0.0.1\n"),
    ];
    let findings = look(DEBIAN, &others, "server", BrokerVersion::V2_0_11);
    one(
        &findings,
        FindingId::B4,
        Severity::Error,
        "`acl_file` of the whole broker would not reach `listener 1884 127.0.0.1`",
    );
    assert!(
        findings
            .iter()
            .any(|finding| finding.fix.contains("password_file /etc/mosquitto/passwd")),
        "{findings:#?}"
    );
    // 2.1 leaves them where they are.
    let findings = look(DEBIAN, &others, "server", BrokerVersion::V2_1_2);
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity < Severity::Error),
        "{findings:#?}"
    );
}

#[test]
fn the_listener_that_nobody_configured_is_missed() {
    let case = cases::cases()
        .into_iter()
        .find(|case| case.name == "server")
        .unwrap();
    let mut settings = case.settings.clone();
    settings.internal.enabled = false;
    let version = BrokerVersion::V2_0_11;
    let text = sectag_gateway::mosquitto::render(&settings, &case.resolved, &case.extras, version)
        .unwrap()
        .text;
    let placed = Placed {
        main: Path::new(MAIN),
        fragment: Path::new(FRAGMENT),
        text: &text,
    };
    let findings = within(placed, &broker(DEBIAN, &[]), version);
    one(
        &findings,
        FindingId::B4,
        Severity::Warn,
        "would not serve this machine's port 1883",
    );
}

#[test]
fn a_line_that_would_be_lost_is_found() {
    let main = "listener 1884 127.0.0.1\ninclude_dir /etc/mosquitto/conf.d\ncertfile /x.crt\nkeyfile /x.key\n";
    let findings = look(main, &[], "server", BrokerVersion::V2_0_11);
    one(
        &findings,
        FindingId::B4,
        Severity::Error,
        "`certfile` is lost",
    );
}

#[test]
fn a_broker_that_does_not_start_anyway_is_said_first() {
    let others = [("x.conf", "no_such_word 1\n")];
    let findings = look(DEBIAN, &others, "server", BrokerVersion::V2_0_11);
    one(
        &findings,
        FindingId::B3,
        Severity::Error,
        "/etc/mosquitto/conf.d/x.conf:1: ",
    );
    let others = [("x.conf", "max_qos 1\n")];
    let findings = look(DEBIAN, &others, "server", BrokerVersion::V2_0_11);
    // The default listener would take the internal one's port.
    one(
        &findings,
        FindingId::B3,
        Severity::Warn,
        "opens the default listener",
    );
    one(
        &findings,
        FindingId::B2,
        Severity::Error,
        "want the same port",
    );
}

#[test]
fn passwords_for_the_whole_broker_reach_our_listeners_in_2_1() {
    let others = [("p.conf", "password_file /etc/mosquitto/passwd\n")];
    let findings = look(DEBIAN, &others, "server", BrokerVersion::V2_1_2);
    one(
        &findings,
        FindingId::B4,
        Severity::Warn,
        "passwords or plugins of other files",
    );
}

#[test]
fn a_limit_of_the_operator_that_ours_would_lift_is_found() {
    let main = format!("max_packet_size 1000\n{DEBIAN}");
    let findings = look(&main, &[], "server", BrokerVersion::V2_1_2);
    one(
        &findings,
        FindingId::B4,
        Severity::Warn,
        "mosquitto.conf:1: the limit of 1000 bytes",
    );
    assert_eq!(look(&main, &[], "server", BrokerVersion::V2_0_11), []);
    let others = [("z.conf", "max_packet_size 1000\n")];
    assert_eq!(look(DEBIAN, &others, "server", BrokerVersion::V2_1_2), []);
}

#[test]
fn our_own_older_file_is_not_somebody_else() {
    let (main, _) = with_include(DEBIAN, Path::new("/home/sectag/mosquitto"));
    let text = fragment("server", BrokerVersion::V2_0_11);
    let mut files = broker(&main, &[]);
    files.insert(PathBuf::from(FRAGMENT), text.clone());
    let newer = fragment("mutual", BrokerVersion::V2_0_11);
    let placed = Placed {
        main: Path::new(MAIN),
        fragment: Path::new(FRAGMENT),
        text: &newer,
    };
    assert_eq!(within(placed, &files, BrokerVersion::V2_0_11), []);
}
