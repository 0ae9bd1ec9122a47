//! How the gateway's own clients reach the broker: G11, G15, G17.

use crate::gateway_desk::{Broker, Gateway, have_root};
use crate::stranger::have;
use crate::support::run;
use std::process::Command;

/// The page's names are aliases here; upstream they do not exist.
#[test]
fn g11_the_pages_client_keys_are_aliases_and_either_turns_tls_on() {
    let folder = |gateway: &Gateway| {
        let folder = gateway.papers.path("cas");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(gateway.papers.path("ca.crt"), folder.join("ca.crt")).unwrap();
        crate::gateway_desk::text(&folder)
    };
    for (alias, canonical) in [
        ("mqtt.client.cafile", "mqtt.client.auth.ca_file"),
        ("mqtt.client.cadir", "mqtt.client.auth.ca_dir"),
    ] {
        let gateway = Gateway::new();
        gateway.level("server");
        gateway.unset("mqtt.client.auth.ca_file");
        let value = if alias.ends_with("dir") {
            folder(&gateway)
        } else {
            gateway.papers.text("ca.crt")
        };
        let said = gateway.tedge(&format!(
            "sudo tedge config set mqtt.client.port {}",
            gateway.external
        ));
        said.expect_code(0);
        let said = gateway.tedge(&format!("sudo tedge config set {alias} {value}"));
        assert_eq!(said.code, Some(0), "{said:#?}");
        assert!(said.stderr.contains(canonical), "one notice: {said:#?}");
        let said = gateway.tedge(&format!("tedge config get {alias}"));
        assert_eq!(said.stdout, format!("{value}\n"), "{said:#?}");
        assert_eq!(gateway.get(canonical), Some(value.clone()));

        let broker = Broker::start(&gateway);
        gateway.publish().expect_code(0);
        drop(broker);
        // Server authentication is on: no plaintext to a broker without TLS.
        gateway.unset("mqtt.external.cert_file");
        gateway.unset("mqtt.external.key_file");
        let _plain = Broker::start(&gateway);
        let refused = gateway.publish();
        assert_eq!(refused.code, Some(1), "{refused:#?}");

        // In the environment and in a file as well.
        let variable = format!("TEDGE_{}", alias.to_uppercase().replace('.', "_"));
        let fresh = Gateway::untouched();
        let get = ["config", "get", canonical];
        let said = fresh.home.sectag_with(&get, &[(&variable, &value)]);
        assert_eq!(said.stdout, format!("{value}\n"), "{said:#?}");
        let named = canonical.to_uppercase().replace('.', "_");
        assert!(said.stderr.contains(&named), "{said:#?}");
    }
}

#[test]
fn g15_half_a_pair_is_an_error_about_the_other_half_at_every_point_of_use() {
    for (present, missing) in [
        ("mqtt.client.auth.cert_file", "mqtt.client.auth.key_file"),
        ("mqtt.client.auth.key_file", "mqtt.client.auth.cert_file"),
        ("mqtt.external.cert_file", "mqtt.external.key_file"),
        ("mqtt.external.key_file", "mqtt.external.cert_file"),
    ] {
        let gateway = Gateway::new();
        gateway.level("mutual");
        let value = gateway.get(present).unwrap();
        gateway.unset(missing);
        // Setting one half is allowed, for the other may follow; it is said.
        let said = gateway.set(&[(present, &value)]);
        assert!(said.stderr.contains(missing), "{said:#?}");

        let finding = gateway.finding("E1");
        let sentence = finding["sentence"].as_str().unwrap();
        assert!(
            sentence.contains(present) && sentence.contains(missing),
            "{finding:#}"
        );
        assert!(
            finding["fix"].as_str().unwrap().contains(missing),
            "{finding:#}"
        );
        let user = if missing.starts_with("mqtt.client") {
            gateway.publish()
        } else {
            gateway.sectag(&["mqtt", "broker"])
        };
        assert!(matches!(user.code, Some(1 | 2)), "{user:#?}");
        assert!(
            user.stderr.contains(present) && user.stderr.contains(missing),
            "{user:#?}"
        );
        if missing.starts_with("mqtt.external") {
            let plan = gateway.plan();
            assert_ne!(plan.code, Some(0), "{plan:#?}");
            assert!(plan.stderr.contains(missing), "{plan:#?}");
        }
    }
}

/// Whoever runs the services must be able to read key and certificate; the page's user is `tedge`. The fix that is printed
/// works.
#[test]
fn g17_the_client_key_is_checked_as_the_services_user() {
    // Some user that is not the files' owner.
    const SOMEBODY: &str = "nobody";
    if !have(&["mosquitto"]) || !have_root("g17") {
        return;
    }
    let gateway = Gateway::new();
    gateway.level("mutual");
    gateway.open_to_others();
    let plan = |gateway: &Gateway| gateway.sectag(&["gateway", "plan", "--service-user", SOMEBODY]);
    let refused = plan(&gateway);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    let key = gateway.papers.text("client.key");
    let fix = format!("chown {SOMEBODY} {key} && chmod 400 {key}");
    assert!(
        refused.stderr.contains("mqtt.client.auth.key_file") && refused.stderr.contains(&fix),
        "{refused:#?}"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &fix]);
    run(shell).expect_code(0);
    let accepted = plan(&gateway);
    assert!(!accepted.stderr.contains("client.key"), "{accepted:#?}");
}
