//! The listener's file, its owners, and what restarts: G8, G9, G12 to G14.

use crate::gateway_desk::{Broker, Gateway, have_root, text};
use crate::stranger::have;
use crate::support::{Output, run};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Command;

/// The page's block, with this desk's files. Since mosquitto 2.0 it refuses everybody.
#[test]
fn g8_the_server_block_is_judged_and_ours_loads_right() {
    if !have(&["mosquitto"]) {
        return;
    }
    let gateway = Gateway::new();
    let papers = &gateway.papers;
    let [cert, key] = ["server.crt", "server.key"].map(|name| papers.text(name));
    let block = format!("listener 8883\ncertfile {cert}\nkeyfile {key}\n");
    let judged = gateway.sectag(&["gateway", "check", &papers.write("tls.conf", &block)]);
    assert_eq!(judged.code, Some(1), "{judged:#?}");
    assert!(
        judged.stdout.contains("every client is refused"),
        "{judged:#?}"
    );
    for line in ["per_listener_settings true", "allow_anonymous true"] {
        assert!(has_line(&judged, line), "{line}: {judged:#?}");
    }

    // Ours goes into a file that loads before every file of `conf.d`, and serves at once.
    std::fs::write(
        gateway.home.beside("conf.d/a-site.conf"),
        "max_keepalive 600\n",
    )
    .unwrap();
    gateway.level("server");
    let applied = gateway.sectag(&["gateway", "apply"]);
    assert_eq!(applied.code, Some(0), "{applied:#?}");
    let main = std::fs::read_to_string(gateway.home.beside("mosquitto.conf")).unwrap();
    let includes: Vec<&str> = main
        .lines()
        .filter(|line| line.starts_with("include_dir"))
        .collect();
    assert!(
        includes.len() == 2 && includes[1].ends_with("conf.d"),
        "{main}"
    );
    gateway.publish().expect_code(0);
}

/// The home's files are placed where the broker's user reads them; for others there is advice that works.
#[test]
fn g9_the_broker_reads_its_files_or_they_are_placed_for_it() {
    const BROKER: &str = "mosquitto";
    if !have(&["mosquitto"]) || !have_root("g9") {
        return;
    }
    if !gateway_user_exists(BROKER) {
        let _ = writeln!(std::io::stderr(), "skipped: g9 needs the user {BROKER}");
        return;
    }
    let gateway = Gateway::new();
    gateway.level("server");
    let plan = || gateway.sectag(&["gateway", "plan", "--broker-user", BROKER, "--json"]);

    // Somebody's 0600 key.
    gateway.open_to_others();
    let refused = plan();
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    let key = gateway.papers.text("server.key");
    let fix = format!("chown {BROKER} {key} && chmod 400 {key}");
    assert!(refused.stderr.contains(&fix), "{refused:#?}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &fix]);
    run(shell).expect_code(0);
    assert_eq!(plan().code, Some(0));

    // The home's own, which nobody else may enter.
    let gateway = Gateway::new();
    gateway.sectag(&["ca", "init"]).expect_code(0);
    gateway.sectag(&["cert", "issue", "server"]).expect_code(0);
    gateway.level("server");
    let at = |file: &str| text(&gateway.home.path().join(file));
    gateway.set(&[
        ("mqtt.external.cert_file", &at("pki/server.crt")),
        ("mqtt.external.key_file", &at("pki/server.key")),
        ("mqtt.client.auth.ca_file", &at("ca/root.crt")),
    ]);
    let plan = gateway.sectag(&["gateway", "plan", "--broker-user", BROKER, "--json"]);
    let said = plan.json();
    let placed = said["files"].as_array().map(|files| {
        let key = |file: &&Value| file["copyOf"] == at("pki/server.key");
        files.iter().find(key).cloned()
    });
    let placed = placed.flatten();
    let placed = placed.unwrap_or_else(|| panic!("the key is not placed: {plan:#?}"));
    assert_eq!(
        (&placed["owner"], &placed["mode"]),
        (&json!(BROKER), &json!("0400")),
        "{placed:#}"
    );
    // The key itself is shown nowhere.
    assert!(!plan.stdout.contains("PRIVATE KEY"), "{plan:#?}");
}

/// The page leaves open which services restart; the plan says which, why, and in which order, and `apply` does it.
#[test]
fn g12_the_plan_says_what_restarts_and_apply_does_it() {
    if !have(&["mosquitto"]) {
        return;
    }
    let gateway = Gateway::new();
    gateway.level("server");
    gateway.sectag(&["gateway", "apply"]).expect_code(0);
    let before = gateway.mosquitto.pid().unwrap();
    // Nothing changed, nothing restarts.
    gateway.sectag(&["gateway", "apply"]).expect_code(0);
    assert_eq!(gateway.mosquitto.pid(), Some(before));

    // A listener that moves wants the broker's restart, then ours, then a word to everybody else.
    let [port] = crate::gateway_desk::free_ports();
    let port = port.to_string();
    let said = gateway.set(&[
        ("mqtt.external.bind.port", &port),
        ("mqtt.client.port", &port),
    ]);
    assert!(said.stderr.contains("restart"), "{said:#?}");
    let plan = gateway.sectag(&["gateway", "plan", "--json"]).json();
    let steps: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    let place = |word: &str| steps.iter().position(|step| step.contains(word));
    let (write, broker) = (place("write"), place("restart the broker"));
    let (wait, probe) = (place("wait"), place("probe"));
    assert!(
        write < broker && broker < wait && wait < probe && write.is_some(),
        "{steps:?}"
    );
    assert!(
        steps.iter().any(|step| step.contains("services")),
        "{steps:?}"
    );
    let applied = gateway.sectag(&["gateway", "apply", "--services-command", "true"]);
    assert!(matches!(applied.code, Some(0 | 3)), "{applied:#?}");
    assert_ne!(gateway.mosquitto.pid(), Some(before));
    gateway.publish().expect_code(0);
    let status = gateway.sectag(&["gateway", "status"]);
    assert!(status.stdout.contains(&port), "{status:#?}");
}

/// As printed, its three file names are rotated by one.
#[test]
fn g13_the_mutual_block_is_recognised_and_put_right() {
    let gateway = Gateway::new();
    let papers = &gateway.papers;
    let [ca, cert, key] =
        ["clients-ca.crt", "server.crt", "server.key"].map(|name| papers.text(name));
    let block = |ca: &str, cert: &str, key: &str| {
        format!(
            "listener 8883\nallow_anonymous false\nrequire_certificate true\ncafile {ca}\ncertfile {cert}\nkeyfile {key}\n"
        )
    };
    // By what is in the files, and by their names when there are none.
    let rotated = block(&cert, &key, &ca);
    let printed = block(
        "PATH_TO_SERVER_CERTIFICATE",
        "PATH_TO_SERVER_PRIVATE_KEY",
        "PATH_TO_CLIENT_CA_CERTIFICATE",
    );
    for (block, [ca, cert, key]) in [
        (rotated, [ca.as_str(), &cert, &key]),
        (
            printed,
            [
                "PATH_TO_CLIENT_CA_CERTIFICATE",
                "PATH_TO_SERVER_CERTIFICATE",
                "PATH_TO_SERVER_PRIVATE_KEY",
            ],
        ),
    ] {
        let judged = gateway.sectag(&["gateway", "check", &papers.write("tls.conf", &block)]);
        assert_eq!(judged.code, Some(1), "{judged:#?}");
        assert!(judged.stdout.contains("rotated"), "{judged:#?}");
        for line in [
            &format!("cafile {ca}"),
            &format!("certfile {cert}"),
            &format!("keyfile {key}"),
            "use_identity_as_username true",
        ] {
            assert!(has_line(&judged, line), "{line}: {judged:#?}");
        }
    }
}

/// One root for the server, another for its clients: on our broker and on mosquitto.
#[test]
fn g14_servers_and_clients_may_have_different_cas() {
    let gateway = Gateway::new();
    gateway.level("mutual");
    let papers = &gateway.papers;
    assert_ne!(papers.read("ca.crt"), papers.read("clients-ca.crt"));
    let findings = gateway.findings();
    assert!(
        findings.iter().all(|(_, severity)| severity != "error"),
        "{findings:?}"
    );
    let meet = |gateway: &Gateway| {
        gateway.publish_to("child-1/hello").expect_code(0);
        // The server's own CA is nobody here.
        gateway.set(&[
            (
                "mqtt.client.auth.cert_file",
                &gateway.papers.text("other.crt"),
            ),
            (
                "mqtt.client.auth.key_file",
                &gateway.papers.text("other.key"),
            ),
        ]);
        let refused = gateway.publish_to("child-1/hello");
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        gateway.level("mutual");
    };
    let broker = Broker::start(&gateway);
    meet(&gateway);
    drop(broker);
    if !have(&["mosquitto"]) {
        return;
    }
    gateway.sectag(&["gateway", "apply"]).expect_code(0);
    meet(&gateway);
}

/// A line of the corrected block, whatever stands before it.
fn has_line(judged: &Output, wanted: &str) -> bool {
    let mut lines = judged.stdout.lines();
    lines.any(|line| line.trim() == wanted)
}

fn gateway_user_exists(name: &str) -> bool {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .any(|line| line.split(':').next() == Some(name))
}
