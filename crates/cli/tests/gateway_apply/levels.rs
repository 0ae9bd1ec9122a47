//! From an empty gateway to each level, and back.

use super::desk::{As, Desk, have_mosquitto};
use serde_json::Value;

#[test]
fn each_level_is_one_command_and_is_proved() {
    if !have_mosquitto() {
        return;
    }
    for (level, checks) in [
        ("none", &["internal", "plaintext", "our-client"][..]),
        (
            "server",
            &[
                "internal",
                "plaintext",
                "served",
                "no-certificate",
                "our-client",
            ][..],
        ),
        (
            "mutual",
            &[
                "internal",
                "plaintext",
                "served",
                "no-certificate",
                "foreign-ca",
                "good-certificate",
                "our-client",
            ][..],
        ),
    ] {
        let desk = Desk::ready(As::Mosquitto);
        let port = desk.external.to_string();
        desk.ok(&[
            "gateway", "init", "--level", level, "--name", "gw-1", "--port", &port,
        ]);
        let probed = desk.ok(&["gateway", "probe", "--json"]);
        let report: Value = serde_json::from_str(&probed.stdout).unwrap();
        let asked: Vec<&str> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| check["name"].as_str().unwrap())
            .collect();
        assert_eq!(asked, checks, "{level}");
        assert!(
            report["checks"]
                .as_array()
                .unwrap()
                .iter()
                .all(|check| check["holds"] == true)
        );
        let status = desk.ok(&["gateway", "status", "--json"]);
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        assert_eq!(status["level"], level);
        assert_eq!(status["wrong"].as_array().unwrap().len(), 0, "{status:#}");
        desk.ok(&["gateway", "apply"]).says("nothing to do");
    }
}

#[test]
fn the_name_in_the_certificate_is_the_user_name_and_the_log_proves_it() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::mutual(As::Mosquitto);
    desk.ok(&["gateway", "probe"])
        .says("`gw-1`, as ")
        .says("mosquitto.log says");
}

#[test]
fn levels_follow_each_other_and_the_last_word_is_remove() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::ready(As::Mosquitto);
    let before = desk.main_file();
    let port = desk.external.to_string();
    for level in ["none", "server", "mutual", "server"] {
        desk.ok(&["gateway", "init", "--level", level, "--port", &port]);
    }
    desk.ok(&["gateway", "remove"]).says("removed");
    assert_eq!(desk.main_file(), before);
    let left: Vec<_> = desk.state();
    assert_eq!(left.len(), 2, "only what is not ours is left: {left:?}");
    desk.ok(&["gateway", "remove"]).says("nothing to remove");
}

#[test]
fn a_level_with_tls_does_not_keep_the_port_of_plaintext() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::new(As::Us);
    let internal = desk.internal.to_string();
    desk.ok(&["config", "set", "mqtt.bind.port", &internal]);
    let init = |level: &str, port: &str| {
        let planned = desk.ok(&["gateway", "init", "--level", level, "--dry-run"]);
        planned.says(&format!("external listener {port}: {level}"));
    };
    init("none", "1884");
    init("server", "8883");
    let chosen = desk.external.to_string();
    desk.ok(&["config", "set", "mqtt.external.bind.port", &chosen]);
    init("mutual", &chosen);
}

#[test]
fn a_name_that_the_kept_certificate_lacks_is_not_passed_over() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::mutual(As::Us);
    let again = |name: &str| {
        desk.sectag(&[
            "gateway", "init", "--level", "mutual", "--name", "gw-1", "--san", name,
        ])
    };
    again("localhost").expect(0).says("kept ");
    let refused = again("broker.example").expect(1);
    refused
        .says("is not for broker.example")
        .says("`sectag cert issue server --force --san broker.example`");
    desk.ok(&[
        "cert",
        "issue",
        "server",
        "--force",
        "--san",
        "broker.example",
    ]);
    again("broker.example").expect(0).says("applied");
}

#[test]
fn a_main_file_that_is_not_utf_8_is_not_written_again() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::ready(As::Us);
    desk.ok(&["gateway", "apply"]);
    let main = desk.path("etc/mosquitto.conf");
    let mut bytes = std::fs::read(&main).unwrap();
    bytes.extend(b"# f\xfcr alle\n");
    std::fs::write(&main, &bytes).unwrap();
    desk.sectag(&["gateway", "remove"])
        .expect(1)
        .says("is not written in UTF-8")
        .says("by hand");
    assert_eq!(std::fs::read(&main).unwrap(), bytes);
}

#[test]
fn a_plan_changes_nothing_and_shows_everything() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::ready(As::Mosquitto);
    let before = desk.state();
    let plan = desk.ok(&["gateway", "plan"]);
    plan.says("include_dir")
        .says("restart the broker")
        .says(&desk.external.to_string());
    let json = desk.ok(&["gateway", "plan", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["level"], "none");
    assert!(json["files"].as_array().unwrap().len() >= 2);
    assert!(json["command"].as_str().unwrap().ends_with("restart.sh"));
    desk.ok(&["gateway", "apply", "--dry-run"]);
    assert_eq!(desk.state(), before);
}

#[test]
fn without_a_way_to_restart_the_plan_is_printed_for_somebody() {
    if !have_mosquitto() || std::path::Path::new("/run/systemd/system").exists() {
        return;
    }
    let desk = Desk::ready(As::Mosquitto);
    let before = desk.state();
    for verb in ["plan", "apply"] {
        let mut command = desk.command(env!("CARGO_BIN_EXE_sectag"));
        let output = command
            .env_remove("SECTAG_RESTART_COMMAND")
            .args(["gateway", verb])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("--restart-command"), "{said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("include_dir"));
    }
    assert_eq!(desk.state(), before);
}

#[test]
fn a_broker_that_started_before_its_files_changed_is_named() {
    if !have_mosquitto() {
        return;
    }
    let desk = Desk::mutual(As::Us);
    let main = std::fs::File::options()
        .append(true)
        .open(desk.path("etc/mosquitto.conf"))
        .unwrap();
    main.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5))
        .unwrap();
    let status = desk.sectag(&["gateway", "status"]).expect(1);
    status
        .says("mosquitto (")
        .says("runs since")
        .says("etc/mosquitto.conf changed at")
        .says(": restart");
}

#[test]
fn a_name_that_cannot_be_one_is_refused_before_anything_is_made() {
    let desk = Desk::new(As::Us);
    for name in ["a/b", "server", "5f3b9c1e-0000-4000-8000-00000000002a", "#"] {
        let done = desk
            .sectag(&["gateway", "init", "--level", "mutual", "--name", name])
            .expect(1);
        done.says("cannot be this gateway's name").says("--name");
    }
    assert!(!desk.path("home/ca").exists());
}
